"""What a family's members are worth: quality, and how sure one can be of a difference."""
