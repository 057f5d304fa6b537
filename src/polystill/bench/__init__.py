"""The measurements of `polystill bench`: each figure and what it is compared with come from one run."""
