"""A localiser's day in small: init, run, and a PO and an XLIFF file filled in, as commands."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polib
import pytest

from polystill.sources.built_in import sentences


@pytest.fixture(scope="module")
def day(polystill: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with messages.po half translated, `mine` drafted from it, and the run of that recipe cut short."""
    folder = tmp_path_factory.mktemp("day")
    pairs = list(dict.fromkeys(zip(sentences("test", "en"), sentences("test", "de"), strict=True)))[:420]
    random.Random(1).shuffle(pairs)
    entries = [f'msgid "{source}"\nmsgstr "{target}"\n' for source, target in pairs[:400]]
    entries += [f'#: a.c:1\nmsgid "{source}"\nmsgstr ""\n' for source, _ in pairs[400:]]
    header = 'msgid ""\nmsgstr ""\n"Language: de\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    (folder / "messages.po").write_text("\n".join([header, *entries]), encoding="utf-8")
    drafted = polystill(
        "init", folder / "messages.po", "--from", "en", "--hours", "0.01", "--out", folder / "mine"
    ).ok()
    assert f"next: polystill run {folder / 'mine' / 'recipe.yaml'} --out runs/mine" in drafted.stderr
    settings = ["stages.0.updates=8", "stages.1.updates=2", "evaluation.beams=[1]", "evaluation.students=[e1d1]"]
    settings += ["training.validate_every=4", "training.warmup=2"]
    options = [option for setting in settings for option in ("--set", setting)]
    polystill("run", folder / "mine" / "recipe.yaml", "--out", folder / "run", *options).ok()
    return folder


def test_a_po_file_is_filled_in(polystill: Any, day: Path) -> None:
    source, out = day / "messages.po", day / "translated.po"
    done = polystill("translate", day / "run", "--student", "e1d1", "-i", source, "-o", out).ok()
    assert "400 translated" in done.stderr
    before, after = polib.pofile(str(source)), polib.pofile(str(out))
    assert [entry.msgid for entry in after] == [entry.msgid for entry in before]
    assert [entry.msgstr for entry in after][:400] == [entry.msgstr for entry in before][:400]
    filled = [entry for entry in after if entry.fuzzy]
    assert filled and all(entry.msgstr and "machine translation" in entry.tcomment for entry in filled)
    kept = [line for line in out.read_text().splitlines() if line in source.read_text().splitlines()]
    assert [line for line in kept if line.startswith('msgid "')] == [
        line for line in source.read_text().splitlines() if line.startswith('msgid "')
    ]


def test_an_xliff_file_is_filled_in_on_stdout(polystill: Any, day: Path) -> None:
    unit = '<trans-unit id="1"><source>A <g id="1">dog</g> runs.</source></trans-unit>'
    content = f'<xliff version="1.2"><file source-language="en" target-language="de"><body>{unit}</body></file></xliff>'
    (day / "a.xlf").write_text(content)
    written = polystill("translate", day / "run", "--student", "e1d1", "-i", day / "a.xlf").ok().stdout
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
