"""Turn text into token ids and back, by SentencePiece and a joint vocabulary.

A tokenizer's folder is laid out as OPUS-MT's: `source.spm`, `target.spm`, `vocab.json` (piece to id) and
`tokenizer_config.json`. `transformers.MarianTokenizer` loads it and gives the same ids. Vocabularies trained here are
in Marian's order: `</s>` 0, `<unk>` 1, the 256 bytes, pieces, `<pad>` last. A character that no piece has is spelt in
bytes, which decoding puts together again.

Size counts on a device. Beside a CTranslate2 model `vocab.json` is left out, as `shared_vocabulary.json` has the same
pieces, and so is a `target.spm` that equals `source.spm`. This file needs SentencePiece only.
"""

from __future__ import annotations

import io
import json
import random
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polystill.data.marian_folder import marian_files, read_vocabulary
from polystill.data.normalization import on_one_line, rules_tsv
from polystill.errors import UserError
from polystill.runs.places import is_marian
from polystill.storage import write_json

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

    from polystill.config import TokenizerSettings

EOS, UNK, PAD = "</s>", "<unk>", "<pad>"
SPACE = "▁"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""A piece that is one byte of a character."""
VOCABULARY, ENGINES_VOCABULARY = "vocab.json", "shared_vocabulary.json"
SOURCE_MODEL, TARGET_MODEL = "source.spm", "target.spm"

SAMPLE_CHARACTERS = 15_000_000
"""Limits SentencePiece's memory to about 400 MB: it takes 25 bytes for each character that it is trained on."""

SCORE_STEP = 2.0**-10
"""Scores of the pieces of vocabularies trained here are multiples of it, so that their sums are exact in float32; see
`polystill.data.words`."""

_PART_CHARACTERS = 1_000  # of at most four bytes each
_TRAINING_THREADS = 2  # fixed, as the sums of EM steps depend on it, and so the vocabulary
_CODE = re.compile(">>.*?<<")
_CONFIG = {
    "tokenizer_class": "MarianTokenizer",
    "eos_token": EOS,
    "unk_token": UNK,
    "pad_token": PAD,
    "model_max_length": 512,
    "separate_vocabs": False,
    "split_special_tokens": True,  # "</s>" in a text is ordinary text
    "clean_up_tokenization_spaces": False,
}
"""tokenizer_config.json, without the languages."""


class Tokenizer:
    """A pair of SentencePiece models with one vocabulary.

    Special marks in the text itself (`</s>`, `<pad>`) are ordinary characters. A language code such as `>>deu<<` at the
    start of a line is one token if the vocabulary has it, and text if not (`MarianTokenizer` loses such text). A piece
    outside the vocabulary is `<unk>`.
    """

    def __init__(self, source_model: bytes, target_model: bytes, vocabulary: dict[str, int], config: dict[str, Any]):
        """Take serialised SentencePiece models, piece -> id (0..V-1, each once), and the tokenizer's config."""
        self._models = (source_model, target_model)
        self._source = _processor(source_model)
        self._target = self._source if target_model == source_model else _processor(target_model)
        self._vocabulary = vocabulary
        self._pieces = sorted(vocabulary, key=vocabulary.__getitem__)
        self._config = config
        self.vocabulary_size: int = len(vocabulary)
        self.eos_id: int = vocabulary[EOS]
        self.unk_id: int = vocabulary[UNK]
        self.pad_id: int = vocabulary[PAD]
        self.source_language: str | None = config.get("source_lang")
        self.target_language: str | None = config.get("target_lang")
        self.languages = self.source_language, self.target_language
        self._source_table = self._table(self._source)
        self._target_table = self._source_table if self._target is self._source else self._table(self._target)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Open a tokenizer's folder: one of ours, of a Marian model in any layout, or of a CTranslate2 model.

        Raises:
            UserError: a file is missing, unreadable or of another kind, a special token is missing, or the ids are not
                0..V-1.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; expected a tokenizer with source.spm, target.spm, vocab.json")
        if is_marian(folder):
            return cls(*_read_marian(folder), dict(_CONFIG))
        if (folder / "target_vocab.json").exists():
            raise UserError(f"{folder}: separate source and target vocabularies (target_vocab.json) are not supported")
        if (folder / VOCABULARY).exists() or not (folder / ENGINES_VOCABULARY).exists():
            vocabulary, names = _read_vocabulary(folder / VOCABULARY), [SOURCE_MODEL, TARGET_MODEL]
        else:
            vocabulary, names = _read_engines_vocabulary(folder / ENGINES_VOCABULARY), [SOURCE_MODEL]
            names += [TARGET_MODEL] * (folder / TARGET_MODEL).exists()
        models = [_read_model(folder / name) for name in names]
        config_file = folder / "tokenizer_config.json"
        config = _read_json_object(config_file) if config_file.exists() else {}
        return cls(models[0], models[-1], vocabulary, config)

    def save(self, folder: Path) -> None:
        """Write the folder that `load` and `transformers.MarianTokenizer` read; made if missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SOURCE_MODEL).write_bytes(self._models[0])
        (folder / TARGET_MODEL).write_bytes(self._models[1])
        write_json(folder / VOCABULARY, {piece: i for i, piece in enumerate(self._pieces)}, indent=1)
        write_json(folder / "tokenizer_config.json", self._config, indent=1)

    def with_languages(self, source_language: str, target_language: str) -> Tokenizer:
        """The same tokenizer; languages that it does not state are these."""
        config = {**_languages(source_language, target_language), **self._config}
        return Tokenizer(*self._models, self._vocabulary, config)

    def save_with_engine(self, folder: Path) -> None:
        """Write the files that `load` needs beside those of a CTranslate2 model, and nothing twice."""
        self.save(folder)
        if _read_engines_vocabulary(folder / ENGINES_VOCABULARY) != self._vocabulary:
            return
        (folder / VOCABULARY).unlink()
        if self._models[0] == self._models[1]:
            (folder / TARGET_MODEL).unlink()

    @property
    def pieces(self) -> list[str]:
        """The vocabulary in the order of its ids (V)."""
        return list(self._pieces)

    @property
    def language_codes(self) -> list[str]:
        """Those of the vocabulary, such as ">>deu<<", which choose the target language at the start of a line."""
        return [piece for piece in self._pieces if _CODE.fullmatch(piece)]

    @property
    def sentencepiece_models(self) -> tuple[bytes, bytes]:
        """The serialised models of source and target; the same bytes where one serves both."""
        return self._models

    def encode_source(self, lines: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Token ids of each line, the end mark last. An empty line is the end mark alone."""
        return self._encode(lines, self._source, self._source_table, threads)

    def encode_target(self, lines: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Token ids of each line, the end mark last. An empty line is the end mark alone."""
        return self._encode(lines, self._target, self._target_table, threads)

    def source_pieces(self, lines: Sequence[str]) -> list[list[str]]:
        """Pieces of each line as CTranslate2 takes them, `</s>` last; pieces outside the vocabulary are `<unk>`."""
        return [[self._pieces[i] for i in ids] for ids in self.encode_source(lines)]

    def target_pieces(self, lines: Sequence[str]) -> list[list[str]]:
        """As `source_pieces`, of target lines."""
        return [[self._pieces[i] for i in ids] for ids in self.encode_target(lines)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence up to its first end mark, on one line; `<pad>` and `<unk>` are dropped."""
        return self.decode_pieces([[self._pieces[i] for i in row] for row in ids])

    def decode_pieces(self, pieces: Sequence[Sequence[str]]) -> list[str]:
        """The text of each sequence of pieces, as `decode`. Bytes that are no UTF-8 become U+FFFD."""
        texts = []
        for row in pieces:
            row = list(row)
            if EOS in row:
                row = row[: row.index(EOS)]
            text = self._target.decode_pieces([piece for piece in row if piece not in (PAD, UNK)])
            texts.append(on_one_line(text.replace(SPACE, " ")).strip())
        return texts

    def _encode(
        self, lines: Sequence[str], processor: SentencePieceProcessor, table: list[int] | None, threads: int
    ) -> list[list[int]]:
        rows = processor.encode(list(lines), num_threads=threads) if lines else []
        outside = processor.unk_id()
        for i, row in enumerate(rows):
            # A piece that one side's model does not know may be in the joint vocabulary: look it up by its text.
            if lines[i].startswith(">>") or (outside in row and self._models[0] != self._models[1]):
                row = self._encode_line(lines[i], processor)
            elif table is not None:
                row = [table[j] for j in row]
            row.append(self.eos_id)
            rows[i] = row
        return rows

    def _encode_line(self, line: str, processor: SentencePieceProcessor) -> list[int]:
        """Encode one line by its pieces: slower, and as `MarianTokenizer` but for unknown language codes."""
        pieces = []
        if (code := _CODE.match(line)) and code[0] in self._vocabulary:
            pieces.append(code[0])
            line = line[code.end() :]
        pieces += processor.encode(line, out_type=str)
        # A row of unknown characters is one piece, and might be called as a mark is.
        return [self.unk_id if piece in (EOS, PAD) else self._vocabulary.get(piece, self.unk_id) for piece in pieces]

    def _table(self, processor: SentencePieceProcessor) -> list[int] | None:
        """SentencePiece id -> vocabulary id; None if they are the same."""
        size = processor.get_piece_size()
        table = [self._vocabulary.get(processor.id_to_piece(i), self.unk_id) for i in range(size)]
        return None if table == list(range(size)) else table


def words_of(pieces: Sequence[str]) -> list[int]:
    """The number of the word that each piece is part of, from 0; a word begins where a blank ends."""
    words, number = [], -1
    for piece in pieces:
        number += number < 0 or piece.startswith(SPACE)
        words.append(number)
    return words


def train_tokenizer(
    lines: Iterable[str], settings: TokenizerSettings, source_language: str, target_language: str, *, seed: int = 1
) -> Tokenizer:
    """Train a joint SentencePiece (unigram) vocabulary of `settings.vocabulary_size` rows, `<pad>` included.

    `lines` holds both sides and is read once. A large corpus is sampled uniformly, by the seed, to at most
    `settings.sample_lines` lines and SAMPLE_CHARACTERS characters. The same lines, settings and seed give the same
    vocabulary. The model normalises text by `polystill.data.normalization`.

    Raises:
        UserError: the corpus is too small for that many pieces (the message names the most possible), has more
            characters than pieces, or has no text.
    """
    sample = _sample(lines, settings.sample_lines, SAMPLE_CHARACTERS, seed)
    if not sample:
        raise UserError("data.tokenizer: there is no text to train the vocabulary on")
    try:
        model = _train_model(sample, settings, (source_language, target_language))
    except RuntimeError as error:
        raise UserError(_explain_training_error(str(error), settings)) from None
    processor = _processor(model)
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, PAD])}
    assert len(vocabulary) == settings.vocabulary_size  # No piece is "<pad>": pieces never mix letters with signs.
    return Tokenizer(model, model, vocabulary, {**_CONFIG, **_languages(source_language, target_language)})


def _train_model(sample: Sequence[str], settings: TokenizerSettings, languages: tuple[str, str]) -> bytes:
    """The serialised SentencePiece model, which names its normalisation. Raises RuntimeError, as SentencePiece does."""
    from sentencepiece import SentencePieceTrainer
    from sentencepiece import sentencepiece_model_pb2 as pb

    written = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".tsv") as rules:
        rules.write(rules_tsv(settings.normalization, languages))
        rules.flush()
        SentencePieceTrainer.train(
            sentence_iterator=(part for line in sample for part in _parts(line)),
            model_writer=written,
            model_type="unigram",
            vocab_size=settings.vocabulary_size - 1,  # `<pad>` is appended to the vocabulary
            character_coverage=settings.coverage,
            byte_fallback=settings.byte_fallback,
            normalization_rule_tsv=rules.name,
            pad_id=-1,
            bos_id=-1,
            eos_id=0,
            unk_id=1,
            num_threads=_TRAINING_THREADS,
            minloglevel=2,
        )
    proto: Any = pb.ModelProto.FromString(written.getvalue())
    for piece in proto.pieces:
        piece.score = round(piece.score / SCORE_STEP) * SCORE_STEP
    proto.normalizer_spec.name = settings.normalization
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    content: bytes = proto.SerializeToString()
    return content


def keep_unknown_codes(marian_tokenizer: Any) -> None:
    """Let a `transformers.MarianTokenizer` read `>>…<<` at the start of a text as `Tokenizer` does.

    By itself it takes any such text for a language code, and turns it to `<unk>` if the vocabulary lacks it.
    """
    split = marian_tokenizer.remove_language_code

    def split_known(text: str) -> tuple[list[str], str]:
        code, rest = split(text)
        return (code, rest) if code and code[0] in marian_tokenizer.supported_language_codes else ([], text)

    marian_tokenizer.remove_language_code = split_known


def _sample(lines: Iterable[str], most_lines: int, most_characters: int, seed: int) -> list[str]:
    """Sample uniformly in one pass: when the sample exceeds a limit, drop half of it and halve the rate."""
    generator = random.Random(f"tokenizer-{seed}")
    sample: list[str] = []
    characters, rate = 0, 1.0
    for line in lines:
        if not line or (rate < 1 and generator.random() >= rate):
            continue
        sample.append(line)
        characters += len(line)
        while len(sample) > most_lines or (characters > most_characters and len(sample) > 1):
            sample = [line for line in sample if generator.random() < 0.5]
            characters = sum(map(len, sample))
            rate /= 2
    return sample


def _parts(line: str) -> Iterator[str]:
    """Cut a line into parts that SentencePiece trains on: it skips those of more than 4,192 bytes without a word."""
    while len(line) > _PART_CHARACTERS:
        end = line.rfind(" ", 1, _PART_CHARACTERS)
        end = _PART_CHARACTERS if end < 0 else end
        yield line[:end]
        line = line[end:].lstrip(" ")
    yield line


def _explain_training_error(message: str, settings: TokenizerSettings) -> str:
    field = f"data.tokenizer.vocabulary_size: {settings.vocabulary_size}"
    if match := re.search(r"set it to a value <= (\d+)", message):
        return f"{field} is too large for this corpus; the largest possible is {int(match[1]) + 1}"
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"{field} is too small: the characters of this corpus alone need {int(match[1]) + 1}; "
            "raise it, lower data.tokenizer.character_coverage, or do without data.tokenizer.byte_fallback"
        )
    return f"{field}: SentencePiece cannot train on this corpus: {' '.join(message.split())}"


def _processor(model: bytes) -> SentencePieceProcessor:
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_proto=model)


def _read_model(path: Path) -> bytes:
    content = _read_bytes(path)
    try:
        _processor(content)
    except RuntimeError:
        raise UserError(f"{path}: not a SentencePiece model") from None
    return content


def _languages(source: str, target: str) -> dict[str, str]:
    return {"source_lang": source, "target_lang": target}


def _read_marian(folder: Path) -> tuple[bytes, bytes, dict[str, int]]:
    """The SentencePiece models of a Marian folder, and its vocabulary with `<pad>`, which Marian lacks, at the end."""
    files = marian_files(folder)
    source, target = (_read_model(path) for path in files.sentencepiece)
    if files.vocabulary is not None:
        vocabulary, path = read_vocabulary(files.vocabulary), files.vocabulary
    else:
        (vocabulary, of_target), path = (_pieces_of(model) for model in (source, target)), files.sentencepiece[0]
        if vocabulary != of_target:
            raise UserError(
                f"{folder}: {path.name} and {files.sentencepiece[1].name} have different pieces; polystill needs one "
                "vocabulary for both languages"
            )
    if PAD in vocabulary:
        raise UserError(
            f"{path}: {PAD} is among the pieces; polystill adds it itself, so the vocabulary must not have it"
        )
    return source, target, _checked({**vocabulary, PAD: len(vocabulary)}, path)


def _pieces_of(model: bytes) -> dict[str, int]:
    processor = _processor(model)
    return {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}


def _read_vocabulary(path: Path) -> dict[str, int]:
    vocabulary = _read_json_object(path)
    if not all(type(i) is int for i in vocabulary.values()):
        raise UserError(f"{path}: expected a JSON object of piece -> id")
    return _checked(vocabulary, path)


def _read_engines_vocabulary(path: Path) -> dict[str, int]:
    """CTranslate2's list of pieces in the order of their ids. Its models have no `<pad>`, which comes last."""
    pieces = _read_json(path)
    if not isinstance(pieces, list) or not all(isinstance(piece, str) for piece in pieces):
        raise UserError(f"{path}: expected a JSON list of pieces")
    pieces += [PAD] * (PAD not in pieces)
    return _checked({piece: i for i, piece in enumerate(pieces)}, path)


def _checked(vocabulary: dict[str, int], path: Path) -> dict[str, int]:
    for token in (EOS, UNK, PAD):
        if token not in vocabulary:
            raise UserError(f"{path}: {token} is missing")
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise UserError(f"{path}: {len(vocabulary)} pieces must have the ids 0 to {len(vocabulary) - 1}, each once")
    return vocabulary


def _read_json_object(path: Path) -> dict[str, Any]:
    value = _read_json(path)
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a JSON object")
    return value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_bytes(path))
    except ValueError:
        raise UserError(f"{path}: not valid JSON") from None


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: missing; a tokenizer's folder has source.spm, target.spm and vocab.json") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
