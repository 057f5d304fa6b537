import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.sources.base import RawPair, Unreadable
from polystill.sources.tmx import TmxSource

BROKEN = Unreadable.BROKEN_ROW
MEMORY = """<?xml version="1.0" encoding="UTF-8"?>
<tmx version="1.4">
  <header srclang="en-US" datatype="xml"/>
  <body>
    <tu><tuv xml:lang="en-US"><seg>A <bpt i="1">&lt;b&gt;</bpt>dog<ept i="1">&lt;/b&gt;</ept>
          &amp; a <hi>cat</hi>.</seg></tuv>
        <tuv xml:lang="de-DE"><seg>Ein Hund
          und eine Katze.</seg></tuv></tu>
    <tu><tuv xml:lang="en-US"><seg>Only English.</seg></tuv></tu>
    <tu><tuv lang="EN"><seg>Old</seg></tuv><tuv lang="FR"><seg>Vieux</seg></tuv><tuv lang="DE"><seg>Alt</seg></tuv></tu>
  </body>
</tmx>
"""


def pairs(folder: Path, content: str | bytes, languages: tuple[str, str] = ("en", "de")) -> list[RawPair]:
    (folder / "memory.tmx").write_bytes(content.encode() if isinstance(content, str) else content)
    return list(TmxSource(kind="tmx", path="memory.tmx").read_pairs(folder, languages))


def unit(source: str, target: str = "gut", languages: tuple[str, str] = ("en", "de")) -> str:
    sides = zip(languages, (source, target), strict=True)
    return "<tu>" + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in sides) + "</tu>"


def memory(*units: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>', root: str = "<tmx>") -> str:
    return f"{head}{root}<body>{''.join(units)}</body></tmx>"


def test_units_with_both_languages_are_read_without_tags(tmp_path: Path) -> None:
    assert pairs(tmp_path, MEMORY) == [("A dog & a cat.", "Ein Hund und eine Katze."), ("Old", "Alt")]
    assert pairs(tmp_path, MEMORY, ("fr", "en")) == [("Vieux", "Old")]


@pytest.mark.parametrize(
    ("segment", "text"),
    [
        ('do<bpt i="1">&lt;b></bpt>g<ept i="1">&lt;/b></ept>s', "dogs"),
        ('Press <ph>&lt;img alt="<sub>the button</sub>"></ph> now', "Press now"),
        ("one<ph>{0}</ph> two<ut>\\par</ut>", "one two"),
        ('line one<ph type="lb">&lt;br/></ph>line two', "line one line two"),
        ('a <it pos="begin">&lt;i></it>b', "a b"),
        ('<hi type="term">API <ph>x</ph><hi>key</hi></hi>s', "API keys"),
        ("a<!-- note -->b<?tool x?>c", "abc"),
        ("&lt;b&gt; &amp;amp; &#252;", "<b> &amp; ü"),
        ("<![CDATA[<p> & ]]>x", "<p> & x"),
    ],
)
def test_inline_elements(tmp_path: Path, segment: str, text: str) -> None:
    assert pairs(tmp_path, memory(unit(segment))) == [(text, "gut")]


@pytest.mark.parametrize(
    ("wanted", "given", "fits"),
    [
        ("en", "en-US", True),
        ("en-us", "EN_US", True),
        ("en-US", "en", True),
        ("zh-Hans", "zh-Hans-CN", True),
        ("pt-BR", "pt-PT", False),
        ("en", "eng", False),
        ("zh-Hans", "zh-Hant", False),
    ],
)
def test_languages_match_by_their_subtags(tmp_path: Path, wanted: str, given: str, fits: bool) -> None:
    content = memory(unit("one", languages=(given, "de")))
    if fits:
        assert pairs(tmp_path, content, (wanted, "de")) == [("one", "gut")]
    else:
        with pytest.raises(UserError) as caught:
            pairs(tmp_path, content, (wanted, "de"))
        assert str(caught.value) == (
            f"{tmp_path}/memory.tmx: no unit with a segment in both {wanted} and de; it has: {given}, de"
        )


def test_the_nearest_variant_wins_and_none_of_its_segments_is_lost(tmp_path: Path) -> None:
    variants = [("pt-PT", "Ecrã"), ("pt-BR", "Tela"), ("pt-BR", "Monitor"), ("en", "Screen")]
    content = memory(
        "<tu>" + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in variants) + "</tu>"
    )
    assert pairs(tmp_path, content, ("en", "pt-BR")) == [("Screen", "Tela"), ("Screen", "Monitor")]
    assert pairs(tmp_path, content, ("en", "pt")) == [("Screen", "Ecrã")]


@pytest.mark.parametrize(
    "content", [gzip.compress(MEMORY.encode()), MEMORY.replace("UTF-8", "UTF-16").encode("utf-16")]
)
def test_compressed_and_other_encodings(tmp_path: Path, content: bytes) -> None:
    assert len(pairs(tmp_path, content)) == 2


def test_a_default_namespace(tmp_path: Path) -> None:
    content = memory(unit("a <hi>b</hi>"), root='<tmx xmlns="http://www.lisa.org/tmx14">')
    assert pairs(tmp_path, content) == [("a b", "gut")]


DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'


@pytest.mark.parametrize("head", [DECLARATION, f'{DECLARATION}<!DOCTYPE tmx SYSTEM "tmx14.dtd">'])
@pytest.mark.parametrize("damage", [b"\x1f", b"&#x1F;", b"\0", b"\xe9", b"&nbsp;"])
def test_a_damaged_unit_leaves_the_others_as_they_are(tmp_path: Path, damage: bytes, head: str) -> None:
    units = (
        unit("one"),
        "\n",
        unit("tXo"),
        unit("three &amp; &lt;b&gt;"),
        unit("f&#246;ur"),
        unit("fXve"),
        unit("a&amp;b"),
    )
    content = memory(*units, head=head).encode().replace(b"X", damage)
    read = [("one", "gut"), (BROKEN, BROKEN), ("three & <b>", "gut"), ("föur", "gut"), (BROKEN, BROKEN)]
    assert pairs(tmp_path, content) == [*read, ("a&b", "gut")]


def test_a_damaged_unit_does_not_move_the_lines_of_later_errors(tmp_path: Path) -> None:
    content = memory(unit("a\n&nbsp;\nb"), "\n", unit("a <b> c"))
    with pytest.raises(UserError, match=r"line 4\b"):
        pairs(tmp_path, content)


@pytest.mark.parametrize("entity", ["secret", "name", "bomb"])
def test_entities_are_never_resolved(tmp_path: Path, entity: str) -> None:
    (tmp_path / "secret").write_text("secret text")
    ten = "".join(f'<!ENTITY bomb{i + 1} "{f"&bomb{i};" * 10}">' for i in range(9))
    head = (
        f'<!DOCTYPE tmx [<!ENTITY secret SYSTEM "{tmp_path}/secret"><!ENTITY name "value"><!ENTITY bomb0 "x">'
        f'{ten}<!ENTITY bomb "&bomb9;">]>'
    )
    content = memory(unit("one"), unit(f"x&{entity};y"), unit("three"), head=head)
    assert pairs(tmp_path, content) == [("one", "gut"), (BROKEN, BROKEN), ("three", "gut")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<tmx><body><tu>", "not valid XML"),
        (memory(unit("one"), unit("two"))[:-60], "not valid XML"),
        (memory(unit("a & b"), unit("two")), "not valid XML"),
        (memory(unit("a <b> c"), unit("two")), "not valid XML"),
        (memory(*[unit("a")] * 3).replace("UTF-8", "UTF-16").encode("utf-16")[:-80], "not valid XML"),
        ("no markup", "not valid XML"),
        ("", "not valid XML"),
        ("<tmx><body></body></tmx>", "empty corpus"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        pairs(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'memory.tmx'}: ") and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    source = TmxSource(kind="tmx", path="none.tmx")
    with pytest.raises(UserError, match=r"none\.tmx: no such file"):
        list(source.read_pairs(tmp_path, ("en", "de")))


def test_reading_streams(tmp_path: Path) -> None:
    content = memory(*(unit(f"sentence {i}", f"Satz {i}") for i in range(20_000)))
    (tmp_path / "memory.tmx").write_text(content[:-20])  # The missing end is found only there.
    reader = TmxSource(kind="tmx", path="memory.tmx").read_pairs(tmp_path, ("en", "de"))
    assert next(reader) == ("sentence 0", "Satz 0")
    with pytest.raises(UserError, match="not valid XML"):
        list(reader)


PEAK = """
import resource, sys
from itertools import islice
from pathlib import Path
from polystill.sources.tmx import TmxSource
pairs = TmxSource(kind="tmx", path="memory.tmx").read_pairs(Path(sys.argv[1]), ("en", "de"))
assert sum(1 for _ in islice(pairs, int(sys.argv[2]))) == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "memory.tmx").write_text(memory(*(unit("x" * 500, f"Satz {i}") for i in range(40_000))))
    few, all_of_them = (
        int(subprocess.run([sys.executable, "-c", PEAK, tmp_path, count], capture_output=True, check=True).stdout)
        for count in ("100", "40_000")
    )
    assert all_of_them - few < 10_000  # KiB; the file has 23,000
