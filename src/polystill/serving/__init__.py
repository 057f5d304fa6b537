"""A server for translations by a family's students: the LibreTranslate API, metrics, and a page. No torch here."""
