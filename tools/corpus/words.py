"""The kinds of lexical entry, with all their forms worked out. Made once by `lexicon`, never changed."""

from __future__ import annotations

from dataclasses import dataclass

Forms = tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """A common noun. `gender` is a column of the article tables (0 m, 1 f, 2 n); forms are by case."""

    english: str
    english_plural: str
    lemma: str
    gender: int
    singular: Forms
    plural: Forms | None
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Adjective:
    """Stems take the endings of `inflection.ADJECTIVE_ENDINGS`; `german` is the predicate form."""

    english: str
    english_comparative: str
    english_superlative: str
    german: str
    stem: str
    comparative: str | None
    superlative: str | None
    kinds: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Complement:
    """What a verb governs besides its subject.

    role: "A" or "D" (objects), "P" (prepositional object), "BARE", "TO", "AT", "ONTO", "ON". `case` is that of the
    German noun phrase; `english` and `german` are the prepositions, possibly empty.
    """

    role: str
    english: str
    german: str
    case: int
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """A verb in one meaning. Present and past are by person: ich, du, er, wir, ihr, sie."""

    english: str
    english_third: str
    english_past: str
    english_participle: str
    english_ing: str
    english_particle: str
    infinitive: str
    prefix: str
    idiom: str
    reflexive: bool
    present: Forms
    past: Forms
    participle: str
    imperative: str
    uses_sein: bool
    subjects: tuple[str, ...]
    complements: tuple[Complement, ...]
    marks: frozenset[str]

    @property
    def lemma(self) -> str:
        parts = ("sich" if self.reflexive else "", self.idiom, self.prefix + self.infinitive)
        return " ".join(part for part in parts if part)

    @property
    def english_is_syncretic(self) -> bool:
        """Whether present and past are spelled alike, as in put and read."""
        return self.english == self.english_past
