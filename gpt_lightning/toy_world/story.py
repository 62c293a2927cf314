"""Passages of the toy world: its facts, and sentence templates filled with them.

Spans, answers and facts are noted while a slot is filled; nothing is searched for in the finished text. Every draw goes
through ``Random.random``, the one method whose sequence Python promises to keep.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from string import Formatter
from typing import Final, TypeVar

from gpt_lightning.toy_world import grammar

TOPICS: Final = tuple(grammar.TOPICS)
SENTIMENTS: Final = tuple(grammar.SENTIMENTS)
ENTITY_TYPES: Final = ("PER", "LOC", "ORG")

TASTES: Final = {"positive": "likes", "negative": "dislikes"}
"""The relation, by sentiment, between the people of a passage and what it is about."""
_RELATIONS: Final = ("home", "work", *TASTES.values())
_PRONOUNS: Final = {"she": {"he": "she", "him": "her", "his": "her"}, "he": {"he": "he", "him": "him", "his": "his"}}

Item = TypeVar("Item")


@dataclass(frozen=True)
class Entity:
    """``text[start:end]`` is a name of this type."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Question:
    """``text[answer_start:][:len(answer)] == answer``; both are None where the passage does not say."""

    question: str
    answer: str | None = None
    answer_start: int | None = None


@dataclass(frozen=True)
class Passage:
    """A text and what is known about it. Entities are in order and do not overlap; some questions have no answer."""

    text: str
    topic: str
    sentiment: str
    entities: tuple[Entity, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, eq=False)
class Thing:
    name: str
    head: str
    topic: str


@dataclass(frozen=True, eq=False)
class Organisation:
    name: str
    seat: str


@dataclass(frozen=True, eq=False)
class Person:
    first: str
    last: str
    pronoun: str
    home: str
    work: Organisation
    tastes: Mapping[str, Mapping[str, Thing]]
    """What this person likes, and what not: one thing of each topic."""

    @property
    def name(self) -> str:
        return f"{self.first} {self.last}"

    def truth(self, relation: str) -> list[str]:
        """Return everything that stands in ``relation`` to this person."""
        if relation in self.tastes:
            return [thing.name for thing in self.tastes[relation].values()]
        return [self.home if relation == "home" else self.work.name]


def pick(rng: Random, items: Sequence[Item]) -> Item:
    """Return an item, each as likely as the others (``Random.choice`` may change between versions)."""
    return items[int(rng.random() * len(items))]


class World:
    """Who lives where, works for whom and likes what: fixed by the seed."""

    def __init__(self, seed: int) -> None:
        rng = Random(f"toy world {seed}")
        stock = [stem + ending for stem in grammar.NAME_STEMS for ending in grammar.NAME_ENDINGS]
        families = [*grammar.SHORT_NAMES, *_distinct(300, lambda: pick(rng, stock))]
        firsts = [(first, pronoun) for pronoun, names in grammar.FIRST_NAMES.items() for first in names]

        def name(forms: Sequence[str]) -> str:
            family, other, (first, _) = pick(rng, families), pick(rng, families), pick(rng, firsts)
            return pick(rng, forms).format(family=family, other=other, first=first)

        self.places = _distinct(150, lambda: name(grammar.PLACE_FORMS))
        self.organisations = [
            Organisation(each, pick(rng, self.places))
            for each in _distinct(200, lambda: name(grammar.ORGANISATION_FORMS), taken=self.places)
        ]
        self.things = {topic: self._draw_things(rng, topic) for topic in TOPICS}
        self.people = []
        for full_name in _distinct(1500, lambda: f"{pick(rng, firsts)[0]} {pick(rng, families)}"):
            first, last = full_name.split()
            home, work = pick(rng, self.places), pick(rng, self.organisations)
            tastes: dict[str, dict[str, Thing]] = {"likes": {}, "dislikes": {}}
            for topic, things in self.things.items():
                tastes["likes"][topic] = liked = pick(rng, things)
                tastes["dislikes"][topic] = pick(rng, [thing for thing in things if thing is not liked])
            self.people.append(Person(first, last, dict(firsts)[first], home, work, tastes))
        self.like_minded: dict[tuple[str, str], list[Person]] = {}
        """The people by (sentiment, name of a thing)."""
        for person in self.people:
            for sentiment, relation in TASTES.items():
                for thing_name in person.truth(relation):
                    self.like_minded.setdefault((sentiment, thing_name), []).append(person)

    @staticmethod
    def _draw_things(rng: Random, topic: str) -> list[Thing]:
        heads = grammar.TOPICS[topic]["head"]
        names = _distinct(50, lambda: f"{pick(rng, grammar.THING_MODIFIERS)} {pick(rng, heads)}")
        return [Thing(name, name.split()[-1], topic) for name in names]


def _distinct(count: int, draw: Callable[[], str], taken: Sequence[str] = ()) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        name = draw()
        if name not in taken:
            found[name] = None
    return list(found)


@cache
def _pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((literal, slot) for literal, slot, _, _ in Formatter().parse(template))


@cache
def _words(topic: str, sentiment: str, other: str) -> dict[str, tuple[str, ...]]:
    """Return the word lists for a passage; ``other`` is the topic of its asides."""
    contrary = next(each for each in SENTIMENTS if each != sentiment)
    return {
        **grammar.COMMON,
        **grammar.TOPICS[topic],
        **grammar.SENTIMENTS[sentiment],
        "bad": grammar.SENTIMENTS[contrary]["good"],
        "minds": grammar.SENTIMENTS[contrary]["feels"],
        **{f"other {slot}": words for slot, words in grammar.TOPICS[other].items()},
    }


class Telling:
    """A passage while it is told: what has been written and mentioned, and which facts that stated."""

    def __init__(self, world: World, rng: Random, person: Person, thing: Thing, sentiment: str) -> None:
        self.world, self.rng, self.thing, self.sentiment = world, rng, thing, sentiment
        other = pick(rng, [topic for topic in TOPICS if topic != thing.topic])
        self.words = _words(thing.topic, sentiment, other)
        contrary = next(each for each in SENTIMENTS if each != sentiment)
        self.relation = {"feels": TASTES[sentiment], "minds": TASTES[contrary]}
        self.people = {"a": person, "b": self._companion(person)}
        self.things = {"t": thing, "d": person.tastes[self.relation["minds"]][other]}
        self.by_first_name = rng.random() < 0.5
        self.names = {"p": (pick(rng, world.places), "LOC"), "o": (pick(rng, world.organisations).name, "ORG")}

        self.parts: list[str] = []
        self.length = 0
        self.starts_sentence = True
        self.entities: list[Entity] = []
        self.first_start: dict[str, int] = {}
        """Where each name was first written in full."""
        self.mentioned: set[Person] = set()
        self.last_person: Person | None = None
        self.last_thing: Thing | None = None
        self.last_phrase: dict[str, str] = {}
        self.facts: list[tuple[str, str, str]] = []
        """(relation, who, what), as names."""

    def passage(self) -> Passage:
        told: set[str] = set()
        for role in pick(self.rng, grammar.PLANS):
            sentence = pick(self.rng, grammar.SENTENCES[role])
            while sentence in told:
                sentence = pick(self.rng, grammar.SENTENCES[role])
            told.add(sentence)
            if self.parts:
                self._write(" ")
            self.starts_sentence = True
            for literal, slot in _pieces(sentence):
                if literal:
                    self._write(literal)
                if slot:
                    self._fill(slot)
        text = "".join(self.parts)
        questions = (*self._answered(), *self._unanswered(text))
        return Passage(text, self.thing.topic, self.sentiment, tuple(self.entities), questions)

    def _companion(self, person: Person) -> Person:
        """Return someone of the same mind who shares no name with ``person``."""
        minded = self.world.like_minded[self.sentiment, self.thing.name]
        while True:
            other = pick(self.rng, minded)
            if other.first != person.first and other.last != person.last:
                return other

    def _write(self, text: str) -> None:
        if self.starts_sentence and text != " ":
            text = text[0].upper() + text[1:]
            self.starts_sentence = False
        self.parts.append(text)
        self.length += len(text)

    def _write_name(self, name: str, kind: str, full: bool = True) -> None:
        if full:
            self.first_start.setdefault(name, self.length)
        self.entities.append(Entity(self.length, self.length + len(name), kind))
        self._write(name)

    def _fill(self, slot: str) -> None:
        who, _, what = slot.partition(".")
        if who in self.people:
            self._write_person(self.people[who], what)
        elif who in self.things:
            self._write_thing(self.things[who], what)
        elif slot in self.names:
            self._write_name(*self.names[slot])
        else:
            self._write(self._phrase(slot))

    def _phrase(self, slot: str) -> str:
        article, slot = slot.startswith("an "), slot.removeprefix("an ")
        template = pick(self.rng, self.words[slot])
        while template == self.last_phrase.get(slot):  # not "he yawned and yawned"
            template = pick(self.rng, self.words[slot])
        phrase = "".join(text + (self._phrase(inner) if inner else "") for text, inner in _pieces(template))
        self.last_phrase[slot] = phrase
        if article:
            phrase = ("an " if phrase[0] in "aeiou" else "a ") + phrase
        return phrase

    def _write_person(self, person: Person, what: str) -> None:
        if what in ("", "name", "he", "him", "his"):
            self._mention(person, what)
        elif what in ("feels", "minds"):
            thing = self.things["t" if what == "feels" else "d"]
            self.facts.append((self.relation[what], person.name, thing.name))
            self._write(self._phrase(what))
        elif what == "seat":
            self.facts.append((what, person.work.name, person.work.seat))
            self._write_name(person.work.seat, "LOC")
        else:
            name, kind = (person.home, "LOC") if what == "home" else (person.work.name, "ORG")
            self.facts.append((what, person.name, name))
            self._write_name(name, kind)

    def _mention(self, person: Person, case: str) -> None:
        """Write the full name at first, later a part of it, or a pronoun where it is clear who is meant."""
        known = person in self.mentioned
        if known and person is self.last_person and case != "name":
            alone = not any(each.pronoun == person.pronoun for each in self.mentioned if each is not person)
            if case or (alone and self.rng.random() < 0.6):
                self._write(_PRONOUNS[person.pronoun][case or "he"])
                return
        short = person.first if self.by_first_name else person.last
        self._write_name(short if known else person.name, "PER", full=not known)
        if case == "his":
            self._write("'s")
        self.last_person = person
        self.mentioned.add(person)

    def _write_thing(self, thing: Thing, what: str) -> None:
        known = thing.name in self.first_start
        if known and not what and thing is self.last_thing and self.rng.random() < 0.5:
            self._write("it")
            return
        self._write("the ")
        self.first_start.setdefault(thing.name, self.length)
        self._write(thing.head if known else thing.name)
        self.last_thing = thing

    def _answered(self) -> Iterator[Question]:
        """Ask for both sides of every stated fact, unless it has two answers here."""
        facts = dict.fromkeys(self.facts)
        for relation, who, what in facts:
            for side, (given, answer) in enumerate(((who, what), (what, who))):
                if sum(fact[0] == relation and fact[1 + side] == given for fact in facts) == 1:
                    wording = pick(self.rng, grammar.QUESTIONS[relation][side])
                    yield Question(wording.format(given), answer, self.first_start[answer])

    def _unanswered(self, text: str) -> Iterator[Question]:
        """Ask what is not said of those who are in the passage, and about one who is not."""
        stated = {fact[:2] for fact in self.facts}
        for person in self.people.values():
            relation = pick(self.rng, _RELATIONS)
            absent = not any(answer in text for answer in person.truth(relation))
            if absent and person in self.mentioned and (relation, person.name) not in stated:
                yield self._question(relation, person)
        stranger = self.people["a"]
        while stranger in self.mentioned:
            stranger = pick(self.rng, self.world.people)
        yield self._question(pick(self.rng, _RELATIONS), stranger)

    def _question(self, relation: str, person: Person) -> Question:
        return Question(pick(self.rng, grammar.QUESTIONS[relation][0]).format(person.name))
