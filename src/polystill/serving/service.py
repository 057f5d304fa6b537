"""Translate requests: split them into sentences, run these through the chosen student's batches, and count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from polystill.decoding.alignment import aligned_spans
from polystill.decoding.stream import translate_lines
from polystill.decoding.translator import DecodingOptions
from polystill.errors import UserError
from polystill.languages import ScriptShare
from polystill.placement import Translation
from polystill.serving.batching import Batcher, Wanted
from polystill.serving.family import Family, Student
from polystill.serving.languages import asks_for, base_code
from polystill.serving.requests import Limits, Refused, TranslateBody
from polystill.serving.text import Markup, PlainText, gap_between

AUTO = "auto"


class Service:
    """Translates all requests of a server."""

    def __init__(self, family: Family, limits: Limits, metrics: Metrics) -> None:
        self.family, self.limits, self.metrics = family, limits, metrics
        at_a_time = family.batches_at_a_time
        self._executor = ThreadPoolExecutor(at_a_time, thread_name_prefix="translate")
        self._source_script = ScriptShare(family.source_language)
        self._active = 0
        self._batchers: dict[str, Batcher[Translation]] = {}
        for student in family.students:
            observe = metrics.batches.labels(student.name).observe
            batcher = Batcher(partial(_translate, student, family.beam), self._executor, at_a_time, observe)
            metrics.waiting.labels(student.name).set_function(partial(attrgetter("waiting"), batcher))
            self._batchers[student.name] = batcher
        metrics.active.set_function(lambda: self._active)

    def stop(self) -> None:
        """Prepare for the end: from now on those requests come first that are nearest to their answers."""
        for batcher in self._batchers.values():
            batcher.is_stopping = True

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def translate(self, body: TranslateBody) -> tuple[dict[str, Any], float]:
        """Return the answer to POST /translate, and the seconds it took.

        Raises:
            Refused: 400 the languages or the student are not served; 413 too much text; 429 too many requests at a
                time; 503 it took too long.
        """
        student = self._check(body)
        if self._active >= self.limits.requests:
            raise Refused(429, f"{self.limits.requests} requests are being translated, the most at a time; try again")
        self._active += 1
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self.limits.seconds):
                texts = await self._translate_texts(student, body)
        except TimeoutError:
            raise Refused(503, f"the translation took longer than {self.limits.seconds:g} seconds") from None
        finally:
            self._active -= 1
        seconds = time.perf_counter() - start
        self.metrics.characters.labels(student.name).inc(sum(map(len, body.texts)))
        return self._content(student, body, texts), seconds

    async def _translate_texts(self, student: Student, body: TranslateBody) -> list[list[str]]:
        """Return each text's translations, best first."""
        is_aligned = student.aligns and body.format == "html"
        split = partial(Markup, aligned=is_aligned) if body.format == "html" else PlainText
        language = base_code(self.family.source_language)
        gap = gap_between(self.family.source_language, self.family.target_language)

        def part() -> list[PlainText | Markup]:
            return [split(text, language, student.fits, gap) for text in body.texts]

        documents = await asyncio.to_thread(part)
        sentences = [sentence for document in documents for sentence in document.sentences]
        wanted = Wanted(1 + body.alternatives, is_aligned)
        translations = await self._batchers[student.name].translate(sentences, wanted)
        self.metrics.sentences.labels(student.name).inc(len(sentences))
        return await asyncio.to_thread(_joined, documents, translations)

    def _content(self, student: Student, body: TranslateBody, texts: Sequence[Sequence[str]]) -> dict[str, Any]:
        single = isinstance(body.q, str)
        content: dict[str, Any] = {"translatedText": texts[0][0] if single else [text[0] for text in texts]}
        if body.source.lower() == AUTO:
            detected = [self.detect(text) for text in body.texts]
            content["detectedLanguage"] = detected[0] if single else detected
        if body.alternatives:
            others = [text[1:] for text in texts]
            content["alternatives"] = others[0] if single else others
        return {**content, "model": student.name}

    def detect(self, text: str) -> dict[str, Any]:
        """Return the language that is translated from; the confidence is the share of words in its script."""
        share = self._source_script(text)
        return {"confidence": round(100 * share, 1), "language": self.family.source_language}

    def _check(self, body: TranslateBody) -> Student:
        limits, family = self.limits, self.family
        if len(body.texts) > limits.batch:
            raise Refused(413, f"{len(body.texts)} texts; at most {limits.batch} are allowed in a request")
        if (characters := sum(map(len, body.texts))) > limits.characters:
            raise Refused(413, f"{characters} characters; at most {limits.characters} are allowed in a request")
        served = f"this server translates from {family.source_language} to {family.target_language}"
        if body.source.lower() != AUTO and not asks_for(body.source, family.source_language):
            raise Refused(400, f"source: not supported; {served}")
        if not asks_for(body.target, family.target_language):
            raise Refused(400, f"target: not supported; {served}")
        try:
            return family.choose(body.model, body.latency_budget_ms)
        except UserError as error:
            raise Refused(400, str(error)) from None


def _translate(student: Student, beam: int, sentences: list[str], wanted: Wanted) -> list[list[Translation]]:
    """Translate into so many translations each. The best is the one that is answered without alternatives.

    A search for several can end with another best one: it has a larger beam, or goes on for longer.
    """
    best, n_best = _search(student, beam, sentences, wanted._replace(n_best=1)), wanted.n_best
    if n_best == 1:
        return best
    more = _search(student, max(beam, n_best), sentences, wanted)
    return [_distinct([*first, *others])[:n_best] for first, others in zip(best, more, strict=True)]


def _distinct(translations: Sequence[Translation]) -> list[Translation]:
    """The first translation of each text."""
    by_text: dict[str, Translation] = {}
    for translation in translations:
        by_text.setdefault(translation.text, translation)
    return list(by_text.values())


def _search(student: Student, beam: int, sentences: list[str], wanted: Wanted) -> list[list[Translation]]:
    options = DecodingOptions(beam, wanted.n_best, student.length_penalty, alignment=wanted.alignment)
    lists = translate_lines(student.engine, sentences, options)
    return [
        [Translation(h.text, tuple(aligned_spans(sentence, h))) for h in hypotheses] or [Translation("")]
        for sentence, hypotheses in zip(sentences, lists, strict=True)
    ]


def _joined(documents: Sequence[PlainText | Markup], translations: Sequence[Sequence[Translation]]) -> list[list[str]]:
    """Each document's translations, best first, from an n-best list for each sentence of all documents."""
    texts, done = [], 0
    for document in documents:
        lists = translations[done : done + len(document.sentences)]
        done += len(lists)
        ranks = range(max(map(len, lists), default=1))  # 0 is best; the longest list sets their number
        ranked = [document.join([n_best[min(k, len(n_best) - 1)] for n_best in lists]) for k in ranks]
        texts.append(list(dict.fromkeys(ranked)))
    return texts


# --- metrics --------------------------------------------------------------------------------------------------------

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SENTENCES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """A server's counters for Prometheus, in a registry of their own. No label holds anything that a user wrote."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("polystill_requests", "Answers.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "polystill_request_seconds", "Time to answer.", ["path"], buckets=_SECONDS, registry=registry
        )
        self.active = Gauge("polystill_active_translations", "Requests being translated.", registry=registry)
        self.sentences = Counter("polystill_sentences", "Sentences translated.", ["model"], registry=registry)
        self.characters = Counter("polystill_characters", "Characters translated.", ["model"], registry=registry)
        self.batches = Histogram(
            "polystill_batch_sentences", "Sentences of a batch.", ["model"], buckets=_SENTENCES, registry=registry
        )
        self.waiting = Gauge("polystill_waiting_sentences", "Not taken yet.", ["model"], registry=registry)

    def text(self) -> bytes:
        """Return all counters in Prometheus' text format."""
        return generate_latest(self._registry)
