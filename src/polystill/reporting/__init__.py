"""One or several runs as a page to look at, as pictures and as Markdown: all of it drawn from the same sections."""
