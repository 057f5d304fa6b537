"""The real mtdata, on a cache that already holds the data set; its first use builds an index for half a minute."""

import gzip
from hashlib import md5
from pathlib import Path

import pytest

from polystill.errors import UserError
from polystill.sources.base import Unreadable
from polystill.sources.mtdata import MtdataSource

pytest.importorskip("mtdata")
pytestmark = pytest.mark.long

URL = "http://data.statmt.org/news-commentary/v18/training/news-commentary-v18.de-en.tsv.gz"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mtdata")
    digest = md5(URL.encode()).hexdigest()
    file = folder / "data.statmt.org" / digest[:4] / digest[4:] / "news_commentary.tsv.gz"
    file.parent.mkdir(parents=True)
    rows = "Der Hund schläft.\tThe dog sleeps.\nZwei\tTwo\nDrei\n".encode() + b"Vier\xff\tFour\nFuenf\tFi\0ve\n"
    file.write_bytes(gzip.compress(rows))
    file.with_name(file.name + "._valid").touch()
    (folder / "mtdata.recipes.yml").write_text(
        "- id: mine\n  langs: deu-eng\n  train:\n  - Statmt-news_commentary-18-deu-eng\n"
    )
    return folder


def read(dataset: str, languages: tuple[str, str]) -> list:
    return list(MtdataSource(kind="mtdata", dataset=dataset).read_pairs(Path(), languages))


@pytest.fixture(autouse=True)
def _use_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTDATA", str(cache))


@pytest.mark.parametrize("dataset", ["Statmt-news_commentary-18-deu-eng", "mine"])
def test_a_cached_data_set_or_recipe_is_read_in_the_order_asked_for(dataset: str) -> None:
    pairs = [("Der Hund schläft.", "The dog sleeps."), ("Zwei", "Two")]
    broken = [(Unreadable.INVALID_UTF8, "Four"), ("Fuenf", Unreadable.NUL_BYTE)]
    german = read(dataset, ("de", "en"))
    assert german[:2] + german[3:] == pairs + broken and Unreadable.BROKEN_ROW in german[2]
    english = read(dataset, ("en", "de"))
    assert english[:2] + english[3:] == [(target, source) for source, target in pairs + broken]
    assert Unreadable.BROKEN_ROW in english[2]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            "vaswani_2017_ende",
            "'vaswani_2017_ende' is neither an mtdata data set, such as Statmt-newstest_deen-2019-deu-eng, "
            "nor an mtdata recipe (did you mean 'vaswani_etal_2017_ende'?)",
        ),
        (
            "Statmt-nothing-1-deu-eng",
            "mtdata knows no data set Statmt-nothing-1-deu-eng; `mtdata list -id -l en-de` lists them",
        ),
        (
            "Statmt-news_commentary-18-ces-eng",
            "Statmt-news_commentary-18-ces-eng has the languages ces-eng, the recipe wants eng-deu",
        ),
    ],
)
def test_a_name_that_does_not_fit(dataset: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(dataset, ("en", "de"))
    assert str(caught.value) == f"mtdata {dataset}: cannot be fetched: {message}"


def test_a_data_set_that_cannot_be_downloaded_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # Nothing listens there.
    with pytest.raises(UserError, match=r"17-deu-eng: cannot be fetched: ProxyError: ") as caught:
        read("Statmt-news_commentary-17-deu-eng", ("en", "de"))
    assert "\n" not in str(caught.value)
