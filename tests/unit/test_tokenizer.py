import io
import json
import random
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from polystill.config import TokenizerSettings
from polystill.data.tokenizer import Tokenizer, _sample, train_tokenizer
from polystill.errors import UserError


def sentences(letters: str, count: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    words = ["".join(generator.choices(letters, k=generator.randint(2, 7))) for _ in range(60)]
    return [" ".join(generator.choices(words, k=generator.randint(1, 9))) + "." for _ in range(count)]


LINES = sentences("abcdeghost", 300, 1) + sentences("abdeinrtzäß", 300, 2)


def small(size: int, **more: int) -> TokenizerSettings:
    """For vocabularies that have no room for 256 bytes."""
    return TokenizerSettings(vocabulary_size=size, byte_fallback=False, **more)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(LINES, small(90), "en", "de")


def spm(lines: list[str], size: int) -> bytes:
    """A model with SentencePiece's own order of ids, as OPUS-MT's have."""
    model = io.BytesIO()
    SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=size, minloglevel=2)
    return model.getvalue()


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in OPUS-MT's layout: two models, one vocabulary in an order of its own."""
    folder = tmp_path_factory.mktemp("opus")
    pieces = set()
    for name, lines in (("source.spm", LINES[:300]), ("target.spm", LINES[300:])):
        (folder / name).write_bytes(spm(lines, 60))
        processor = SentencePieceProcessor(model_file=str(folder / name))
        pieces |= {processor.id_to_piece(i) for i in range(3, 60)}
    order = ["</s>", "<unk>", *sorted(pieces, reverse=True), ">>deu<<", "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(order)}))
    return folder


def test_ids_are_in_marian_order(tokenizer: Tokenizer) -> None:
    assert (tokenizer.vocabulary_size, tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id) == (90, 0, 1, 89)
    assert [tokenizer.pieces[0], tokenizer.pieces[1], tokenizer.pieces[-1]] == ["</s>", "<unk>", "<pad>"]
    assert len(set(tokenizer.pieces)) == 90


def test_every_sequence_ends_with_one_end_mark(tokenizer: Tokenizer) -> None:
    for rows in (tokenizer.encode_source(["the dog", "", "der Hund"]), tokenizer.encode_target(["the dog", "", "x"])):
        assert all(row[-1] == 0 and 0 not in row[:-1] for row in rows)
    assert tokenizer.encode_source(["", "   "]) == [[0], [0]]
    assert tokenizer.encode_source([]) == []
    assert tokenizer.source_pieces(["the", ""]) == [[*tokenizer.source_pieces(["the"])[0]], ["</s>"]]


def test_decoding_gives_the_text_back(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode_source(LINES)) == LINES
    assert tokenizer.decode_pieces(tokenizer.source_pieces(LINES)) == LINES


def test_decoding_stops_at_the_end_mark_and_drops_padding_and_unknown_pieces(tokenizer: Tokenizer) -> None:
    ago = tokenizer.encode_target(["ago"])[0][:-1]
    assert tokenizer.decode([[89, *ago, 89, 0, *ago], [89], [], [*ago, 1]]) == ["ago", "", "", "ago"]


def test_special_marks_in_a_text_are_text(tokenizer: Tokenizer) -> None:
    for row in tokenizer.encode_source(["the </s> dog", "</s>", "<pad>", "<unk>"]):
        assert 0 not in row[:-1] and 89 not in row


@settings(max_examples=80, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_encodes_to_ids_of_the_vocabulary(tokenizer: Tokenizer, lines: list[str]) -> None:
    rows = tokenizer.encode_source(lines)
    assert len(rows) == len(lines)
    assert all(0 <= i < 89 for row in rows for i in row)
    assert rows == [tokenizer.encode_source([line])[0] for line in lines]
    assert all(isinstance(text, str) for text in tokenizer.decode(rows))


def test_threads_change_nothing(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_source(LINES, threads=3) == tokenizer.encode_source(LINES)


def test_saved_and_loaded_is_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "a")
    loaded = Tokenizer.load(tmp_path / "a")
    assert loaded.pieces == tokenizer.pieces
    assert loaded.encode_source(LINES) == tokenizer.encode_source(LINES)
    assert (loaded.source_language, loaded.target_language) == ("en", "de")
    loaded.save(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()


def test_training_is_deterministic_even_on_a_sample() -> None:
    settings = small(60, sample_lines=200)
    first, second = (train_tokenizer(iter(LINES), settings, "en", "de", seed=3) for _ in range(2))
    assert first._models == second._models
    assert first._models != train_tokenizer(LINES, settings, "en", "de", seed=4)._models


def test_sample_keeps_within_its_limits_and_draws_from_everywhere() -> None:
    lines = [f"{i:05d}" for i in range(20_000)]
    by_lines = _sample(lines, 1000, 10**9, seed=1)
    by_characters = _sample(lines, 10**9, 5000, seed=1)
    for sample in (by_lines, by_characters):
        assert 300 <= len(sample) <= 1000
        assert sample == sorted(set(sample))
        assert abs(sum(map(int, sample)) / len(sample) - 10_000) < 1000
    assert _sample(lines, 20_000, 100_000, seed=1) == lines


def test_a_literal_pad_in_the_corpus_does_not_become_a_piece() -> None:
    lines = LINES + [f"{line[:4]}<pad>{line[-5:]}" for line in LINES] * 3
    assert train_tokenizer(lines, small(90), "en", "de").pieces.count("<pad>") == 1


def test_too_large_a_vocabulary_names_the_largest_possible() -> None:
    with pytest.raises(UserError, match="too large") as caught:
        train_tokenizer(LINES, small(50_000), "en", "de")
    message = str(caught.value)
    most = int(message.split()[-1])
    assert message == (
        f"data.tokenizer.vocabulary_size: 50000 is too large for this corpus; the largest possible is {most}"
    )
    assert train_tokenizer(LINES, small(most), "en", "de").vocabulary_size == most
    with pytest.raises(UserError, match="too large"):
        train_tokenizer(LINES, small(most + 1), "en", "de")


def test_too_small_a_vocabulary_names_the_smallest_possible() -> None:
    with pytest.raises(UserError, match="too small: the characters of this corpus alone need") as caught:
        train_tokenizer(LINES, small(20), "en", "de")
    least = int(str(caught.value).split("need ")[1].split(";")[0])
    assert train_tokenizer(LINES, small(least), "en", "de").vocabulary_size == least


@pytest.mark.parametrize("joined", [" ", ""], ids=["spaces", "no spaces"])
def test_lines_of_any_length_are_trained_on(joined: str) -> None:
    """SentencePiece skips lines of more than 4,192 bytes."""
    words = ["straße", "größe", "Äpfel", "犬犬", "xyz", "\U00020000"]
    long = [joined.join(random.Random(i).choices(words, k=3000)) for i in range(20)]
    trained = train_tokenizer(long, small(25), "en", "de")
    assert set("".join(words)) <= set("".join(trained.pieces))
    assert trained.decode(trained.encode_source([long[0]])) == [long[0]]


def test_no_text_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^data\.tokenizer: there is no text to train the vocabulary on$"):
        train_tokenizer(["", ""], small(90), "en", "de")


def test_opus_layout_looks_pieces_up_in_the_joint_vocabulary(opus: Path) -> None:
    tokenizer = Tokenizer.load(opus)
    vocabulary = json.loads((opus / "vocab.json").read_text())
    for side, encode in (("source", tokenizer.encode_source), ("target", tokenizer.encode_target)):
        processor = SentencePieceProcessor(model_file=str(opus / f"{side}.spm"))
        for line in [*LINES[:20], *LINES[-20:], "größe 😀😀 ß", "", "x  y"]:
            pieces = processor.encode(line, out_type=str)
            assert encode([line])[0] == [vocabulary.get(piece, 1) for piece in pieces] + [0]
    assert tokenizer.decode(tokenizer.encode_target(LINES[300:])) == LINES[300:]


def test_unknown_characters_that_spell_a_mark_are_unknown(opus: Path) -> None:
    tokenizer = Tokenizer.load(opus)
    assert not {"<", "/", "s", ">"} & set("".join(LINES[300:]))
    for row in tokenizer.encode_target(["</s>", "a </s> b", "<s/> <pad>"]):
        assert tokenizer.eos_id not in row[:-1] and tokenizer.pad_id not in row


def test_a_piece_unknown_to_the_source_model_is_found_in_the_joint_vocabulary(opus: Path) -> None:
    tokenizer = Tokenizer.load(opus)
    assert "ß" not in "".join(LINES[:300]) and "ß" in tokenizer.pieces
    assert tokenizer.pieces.index("ß") in tokenizer.encode_source(["ß"])[0]


@pytest.fixture(scope="module")
def with_bytes() -> Tokenizer:
    return train_tokenizer(LINES, TokenizerSettings(vocabulary_size=340), "en", "de")


def test_the_256_bytes_come_first(with_bytes: Tokenizer) -> None:
    assert with_bytes.pieces[2:258] == [f"<0x{i:02X}>" for i in range(256)]
    assert (with_bytes.eos_id, with_bytes.unk_id, with_bytes.pad_id) == (0, 1, 339)


WRITTEN = (
    *(
        "bread 🙂.",
        "ş ı İ",
        "m² and 5½",
        "我喜欢吃饭，你呢？（真的！）",
        "日本語とEnglishの混在。",
        "한국어 문장입니다.",
        "العربية ١٢٣؟",
    ),
    *(
        "می‌خواهم",
        "ශ්‍රී ලංකාව",
        "👩‍🚀 👍🏽 🇪🇺 ❤️ 1️⃣",
        "שָׁלוֹם",
        "हिन्दी में",
        "ภาษาไทย",
        "བོད་སྐད།",
        "Việt Nam",
        "ελληνικά кириллица",
    ),
    *("𠮷野家 𐍈𐌰𐌹", "€5 £6 … – “x” «y»", "%1$s {name} %PRODUCTNAME _File <b>x</b>", "https://example.org/a?b=c&d=é#f"),
)


@pytest.mark.parametrize("text", WRITTEN)
def test_characters_outside_the_vocabulary_come_back(with_bytes: Tokenizer, text: str) -> None:
    for ids in (with_bytes.encode_source([text])[0], with_bytes.encode_target([text])[0]):
        assert with_bytes.unk_id not in ids
        assert with_bytes.decode([ids]) == [text]


def test_odd_lines_come_back_as_they_are_written(with_bytes: Tokenizer, odd_lines: list[str]) -> None:
    invisible = re.compile("[\x00-\x08\x0e-\x1b\x7f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
    texts = with_bytes.decode(with_bytes.encode_source(odd_lines))
    different = []
    for line, text in zip(odd_lines, texts, strict=True):
        written = unicodedata.normalize("NFC", invisible.sub("", line)).replace("▁", " ").replace("\ufffd", " ")
        if text != " ".join(written.split()):
            different.append(line)
    # A second mark in an order that is not canonical; jamo, which are composed where Korean is written; an accent after
    # an invisible character; joiners after Latin letters.
    rare = ("é\u0323 ệ", "각 가\u11a8", "ö\u200b o\u200b\u0308", "o\u200cn\u200de two", "Auf\u200clage")
    assert [line for line in different if not line.startswith(rare)] == []
    assert unicodedata.normalize("NFC", texts[odd_lines.index("각 가\u11a8 \u1100\u1161\u11a8")]) == "각 각 각"


def test_lines_that_show_nothing_are_empty(with_bytes: Tokenizer) -> None:
    assert with_bytes.encode_source(["\u200b", "\ufeff \u00ad", "\x01", "\u2060\u3000"]) == [[0]] * 4


def test_bytes_make_no_line_end_and_no_error(with_bytes: Tokenizer) -> None:
    ids = {piece: i for i, piece in enumerate(with_bytes.pieces)}
    ago = with_bytes.encode_target(["ago"])[0][:-1]
    for byte in ("0A", "0D", "00", "85"):
        (text,) = with_bytes.decode([[*ago, ids[f"<0x{byte}>"], *ago]])
        assert len(text.splitlines()) == 1 and text.startswith("ago")
    assert with_bytes.decode([[*ago, ids["<0xE2>"], ids["<0x80>"], ids["<0xA8>"], *ago]]) == ["ago  ago"]
    assert with_bytes.decode([[ids["<0xF0>"], ids["<0x9F>"]]])[0].strip("\ufffd") == ""


def test_a_typed_byte_is_text(with_bytes: Tokenizer) -> None:
    assert with_bytes.decode(with_bytes.encode_source(["<0x41> <0x0A>"])) == ["<0x41> <0x0A>"]


def test_rare_characters_are_bytes_by_default_and_pieces_on_demand() -> None:
    lines = [*LINES * 20, "ago ☃"]
    rarely = train_tokenizer(lines, TokenizerSettings(vocabulary_size=340), "en", "de")
    every = train_tokenizer(lines, TokenizerSettings(vocabulary_size=340, character_coverage=1), "en", "de")
    without = train_tokenizer(lines, small(90), "en", "de")
    assert ["☃" in tokenizer.pieces for tokenizer in (rarely, every, without)] == [False, True, True]


def test_a_text_in_angle_brackets_is_no_language_code(tokenizer: Tokenizer, opus: Path) -> None:
    for line in (">>a good day<<", ">>ago<< das", ">>ago", ">>", ">><<"):
        assert tokenizer.encode_source([line]) == tokenizer.encode_source([f" {line}"])
        assert tokenizer.encode_target([line]) == tokenizer.encode_target([f" {line}"])
    multilingual = Tokenizer.load(opus)
    assert multilingual.language_codes == [">>deu<<"] and tokenizer.language_codes == []
    assert multilingual.encode_source([">>xyz<< the dog"]) == multilingual.encode_source([" >>xyz<< the dog"])


def test_a_language_code_is_one_token(opus: Path) -> None:
    tokenizer = Tokenizer.load(opus)
    code = tokenizer.pieces.index(">>deu<<")
    plain = tokenizer.encode_source(["the dog"])[0]
    assert tokenizer.encode_source([">>deu<< the dog", ">>deu<<the dog"]) == [[code, *plain]] * 2


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "source.spm").unlink(), "{f}/source.spm: missing; a tokenizer's folder has source.spm"),
        (lambda f: (f / "vocab.json").unlink(), "{f}/vocab.json: missing; a tokenizer's folder has source.spm"),
        (lambda f: (f / "target.spm").write_bytes(b"nonsense"), "{f}/target.spm: not a SentencePiece model"),
        (lambda f: (f / "vocab.json").write_text("{"), "{f}/vocab.json: not valid JSON"),
        (lambda f: (f / "vocab.json").write_bytes(b"\xff\xfe{}"), "{f}/vocab.json: not valid JSON"),
        (lambda f: (f / "vocab.json").write_text("[1]"), "{f}/vocab.json: expected a JSON object"),
        (
            lambda f: (f / "vocab.json").write_text('{"</s>": "0"}'),
            "{f}/vocab.json: expected a JSON object of piece -> id",
        ),
        (lambda f: (f / "vocab.json").write_text('{"</s>": 0, "<unk>": 1}'), "{f}/vocab.json: <pad> is missing"),
        (
            lambda f: (f / "vocab.json").write_text('{"</s>": 0, "<unk>": 1, "<pad>": 3}'),
            "{f}/vocab.json: 3 pieces must have the ids 0 to 2, each once",
        ),
        (lambda f: (f / "tokenizer_config.json").write_text("x"), "{f}/tokenizer_config.json: not valid JSON"),
        (
            lambda f: (f / "target_vocab.json").write_text("{}"),
            "{f}: separate source and target vocabularies (target_vocab.json) are not supported",
        ),
    ],
)
def test_a_damaged_folder_is_a_clear_error(tokenizer: Tokenizer, tmp_path: Path, break_it, message: str) -> None:
    tokenizer.save(tmp_path)
    break_it(tmp_path)
    with pytest.raises(UserError) as caught:
        Tokenizer.load(tmp_path)
    assert str(caught.value).startswith(message.format(f=tmp_path))
    assert "\n" not in str(caught.value)


def test_beside_an_engine_nothing_is_written_twice(tokenizer: Tokenizer, opus: Path, tmp_path: Path) -> None:
    """CTranslate2's vocabulary has no `<pad>`; one in another order is not the tokenizer's."""
    apart = Tokenizer.load(opus)
    for name, own, pieces, expected in (
        ("joint", tokenizer, tokenizer.pieces[:-1], {"source.spm"}),
        ("apart", apart, apart.pieces[:-1], {"source.spm", "target.spm"}),
        ("other", tokenizer, tokenizer.pieces[-2::-1], {"source.spm", "target.spm", "vocab.json"}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "shared_vocabulary.json").write_text(json.dumps(pieces))
        own.save_with_engine(folder)
        written = {path.name for path in folder.iterdir()} - {"shared_vocabulary.json", "tokenizer_config.json"}
        assert written == expected
        found = Tokenizer.load(folder)
        assert (found.pieces, found.sentencepiece_models) == (own.pieces, own.sentencepiece_models)
        lines = [*LINES[:5], *LINES[-5:], ">>deu<< the dog"]
        assert found.encode_source(lines) == own.encode_source(lines)
        assert found.encode_target(lines) == own.encode_target(lines)
        assert found.decode(own.encode_target(lines)) == own.decode(own.encode_target(lines))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected a JSON list of pieces"),
        ("[1]", "expected a JSON list of pieces"),
        ("x", "not valid JSON"),
        ('["</s>"]', "<unk> is missing"),
        ('["</s>", "<unk>", "a", "a"]', "4 pieces must have the ids 0 to 3, each once"),
    ],
)
def test_a_damaged_vocabulary_of_the_engine_is_a_clear_error(
    tokenizer: Tokenizer, tmp_path: Path, content: str, message: str
) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "vocab.json").unlink()
    (tmp_path / "shared_vocabulary.json").write_text(content)
    with pytest.raises(UserError, match=f"shared_vocabulary.json: {message}"):
        Tokenizer.load(tmp_path)


def test_where_there_is_a_vocabulary_a_lost_target_model_is_an_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """It may have been another one than the source's."""
    tokenizer.save(tmp_path)
    (tmp_path / "shared_vocabulary.json").write_text(json.dumps(tokenizer.pieces[:-1]))
    (tmp_path / "target.spm").unlink()
    with pytest.raises(UserError, match=r"target\.spm: missing"):
        Tokenizer.load(tmp_path)


def test_a_missing_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no such folder; expected a tokenizer with source\.spm, target\.spm, vocab\.json"
    ):
        Tokenizer.load(tmp_path / "nowhere")
