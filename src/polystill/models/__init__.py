"""Networks, their folders on disk, and the names other toolkits give to their parameters."""
