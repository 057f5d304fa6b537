"""Install a package and translate stdin's lines, in argostranslate's environment: python argos_translate.py PACKAGE"""

import sys

from argostranslate import package, translate


class WholeLine:
    """Takes a line for a sentence; Argos' own model for this is downloaded on first use."""

    def split_sentences(self, text: str) -> list[str]:
        return [text]


package.install_from_path(sys.argv[1])
(installed,) = package.get_installed_packages()
source, target = (translate.get_language_from_code(code) for code in (installed.from_code, installed.to_code))
print(source.name, target.name)
translation = source.get_translation(target)
while not hasattr(translation, "sentencizer"):
    translation = translation.underlying
translation.sentencizer = WholeLine()
for line in sys.stdin:
    print(translation.translate(line.strip()))
