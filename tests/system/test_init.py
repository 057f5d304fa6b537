"""A localiser's day in small: init, run, and a PO and an XLIFF file filled in, as commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polib
import pytest

SMALL = {
    **dict.fromkeys(("model.encoder_layers", "model.decoder_layers"), 1),
    "students.encoder": [1, 1],
    "students.decoder": [1, 1],
    **{"model.d_model": 32, "model.ffn_dim": 64, "model.dropout": 0.0, "training.batch_tokens": 512},
    **{"stages.0.updates": 150, "stages.1.updates": 4, "training.learning_rate": 0.01, "training.warmup": 10},
    **{"training.validate_every": 50, "training.checkpoint_every": 50, "evaluation.beams": [1]},
}
"""Changes to a drafted recipe that let it learn the toy language in seconds, well enough to end its sentences."""


@pytest.fixture(scope="module")
def day(polystill: Any, counting_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with messages.po, partly translated, `mine` drafted from it, and a small run of that recipe."""
    folder = tmp_path_factory.mktemp("day")
    sides = ((counting_data / f"train.{side}").read_text().splitlines() for side in ("en", "de"))
    pairs = list(dict(zip(*sides, strict=True)).items())
    new = set((counting_data / "test.en").read_text().splitlines()) - {source for source, _ in pairs}
    entries = [f'msgid "{source}"\nmsgstr "{target}"\n' for source, target in pairs]
    entries += [f'#: a.c:1\nmsgid "{source}"\nmsgstr ""\n' for source in sorted(new)]
    header = 'msgid ""\nmsgstr ""\n"Language: de\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    (folder / "messages.po").write_text("\n".join([header, *entries]), encoding="utf-8")
    drafted = polystill(
        "init", folder / "messages.po", "--from", "en", "--hours", "0.01", "--out", folder / "mine"
    ).ok()
    assert f"next: polystill run {folder / 'mine' / 'recipe.yaml'} --out runs/mine" in drafted.stderr
    options = [option for key, value in SMALL.items() for option in ("--set", f"{key}={value}")]
    polystill("run", folder / "mine" / "recipe.yaml", "--out", folder / "run", *options).ok()
    return folder


def test_a_po_file_is_filled_in(polystill: Any, day: Path) -> None:
    source, out = day / "messages.po", day / "translated.po"
    done = polystill("translate", day / "run", "-i", source, "-o", out).ok()
    before, after = polib.pofile(str(source)), polib.pofile(str(out))
    assert [entry.msgid for entry in after] == [entry.msgid for entry in before]
    human = [entry.msgid for entry in before if entry.msgstr]
    assert f"{len(human):,} translated" in done.stderr
    assert [entry.msgid for entry in after if entry.msgstr and not entry.fuzzy] == human
    filled = [entry for entry in after if entry.fuzzy]
    assert len(filled) > len(before.untranslated_entries()) / 2  # a loop now and then is no translation
    assert all(entry.msgstr and "machine translation" in entry.tcomment for entry in filled)
    new = ("# machine translation", "#, fuzzy", "msgstr", '"')
    rest = [[line for line in path.read_text().splitlines() if not line.startswith(new)] for path in (source, out)]
    assert rest[0] == rest[1]


def test_an_xliff_file_is_filled_in_on_stdout(polystill: Any, day: Path) -> None:
    unit = '<trans-unit id="1"><source>one <g id="1">two</g> three</source></trans-unit>'
    content = f'<xliff version="1.2"><file source-language="en" target-language="de"><body>{unit}</body></file></xliff>'
    (day / "a.xlf").write_text(content)
    written = polystill("translate", day / "run", "-i", day / "a.xlf").ok().stdout
    start = content.index("</source>") + len("</source>")
    assert written.startswith(content[:start] + '<target state="needs-review-translation"')
    assert written.endswith(content[start:]) and written.count('<g id="1">') == 2


def test_what_is_refused(polystill: Any, day: Path) -> None:
    po, run = day / "messages.po", day / "run"
    polystill("translate", run, "-i", po, "-o", po).refused("this is the input")
    polystill("translate", run, "-i", po, "-i", po).refused("give it alone")
    polystill("translate", run, "-i", po, "--n-best", "2").refused("one translation of each text")
    (day / "fr.po").write_text('msgid ""\nmsgstr "Language: fr\\n"\n\nmsgid "a"\nmsgstr ""\n')
    polystill("translate", run, "-i", day / "fr.po").refused("fr.po", "to fr", "en to de")
    polystill("translate", run, "-i", day / "none.po").refused("none.po: no such file")
    polystill("init", po, "--from", "en", "--out", day / "mine").refused("exists already")
    polystill("init", po, "--from", "de", "--out", day / "new").refused("de to de", "same language")
