"""Translations of one sentence to choose from: near to the reference, and far from it."""

REFERENCE = "Ein schwarzer Hund rennt über die grüne Wiese ."
LIST = [
    "Ein Hund läuft auf der Wiese .",
    "Ein schwarzer Hund läuft über die grüne Wiese .",
    "Ein schwarzer Hund rennt über eine Wiese .",
    "Schwarzer Hund rennt über grüne Wiesen .",
    "Ein schwarzer Hund rennt über die grünen Wiesen .",
    "Katze .",
]
