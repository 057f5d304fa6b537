"""`polystill init`: from a user's text to a recipe that fits it and this machine."""
