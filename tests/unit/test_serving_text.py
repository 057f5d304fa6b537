"""serving.text: sentences out of a text and back, nothing between them touched."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polystill.serving.text import PlainText, gap_between


def fits(sentence: str) -> bool:
    return len(sentence) <= 40


def test_sentences_are_told_apart_and_abbreviations_kept() -> None:
    text = PlainText("Dr. Smith sleeps. It costs 3.5 dollars! Really?", "en", fits)
    assert text.sentences == ["Dr. Smith sleeps.", "It costs 3.5 dollars!", "Really?"]


def test_line_breaks_and_blanks_stay() -> None:
    text = PlainText("One.  Two.\r\n\r\n\t- three\n\n", "en", fits)
    assert text.sentences == ["One.", "Two.", "- three"]
    assert text.join(["Eins.", "Zwei.", "- drei"]) == "Eins.  Zwei.\r\n\r\n\t- drei\n\n"


def test_empty_and_blank_texts_have_no_sentence() -> None:
    for blank in ("", " ", "\n\n \t\n"):
        text = PlainText(blank, "en", fits)
        assert text.sentences == []
        assert text.join([]) == blank


def test_what_does_not_fit_is_parted_and_not_lost() -> None:
    long = "one two three, four five six seven eight nine ten eleven twelve " * 3
    text = PlainText(long, "en", fits)
    assert all(map(fits, text.sentences))
    assert text.join(text.sentences) == long
    assert PlainText("x" * 100, "en", fits).sentences == ["x" * 25] * 4


def test_sentences_get_the_blank_that_their_own_language_does_not_write() -> None:
    text = PlainText("你好。再见。\n谢谢。", "zh", fits, gap_between("zh", "en"))
    assert text.join(["Hello.", "Goodbye.", "Thanks."]) == "Hello. Goodbye.\nThanks."
    assert [gap_between(*pair) for pair in (("zh", "ja"), ("en", "zh"), ("en", "de"), ("th", "en"))] == [
        "",
        "",
        "",
        " ",
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.sampled_from("ab .!?\n\r\u2028 ,中。é😀"), max_size=120))
def test_joined_without_a_change_it_is_the_text(text: str) -> None:
    parted = PlainText(text, "en", fits)
    assert parted.join(parted.sentences) == text
    assert all(sentence == sentence.strip() and fits(sentence) for sentence in parted.sentences)
