"""Passages of the toy world: facts, and sentence templates that are filled with them.

Spans, answers and facts are recorded while slots are filled, so that no search in the finished text is needed. All
random choices use ``Random.random``, the only method whose sequence Python guarantees across versions.
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
"""Sentiment of a passage -> relation between its people and its thing."""
_RELATIONS: Final = ("home", "work", *TASTES.values())
_PRONOUNS: Final = {"she": {"he": "she", "him": "her", "his": "her"}, "he": {"he": "he", "him": "him", "his": "his"}}

Item = TypeVar("Item")


@dataclass(frozen=True)
class Entity:
    """Name of a type at ``text[start:end]``."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Question:
    """Question with its answer at ``answer_start`` in the passage; both are None if the passage has no answer."""

    question: str
    answer: str | None = None
    answer_start: int | None = None


@dataclass(frozen=True)
class Passage:
    """Text with its labels. Entities are in order and do not overlap. Some questions have no answer."""

    text: str
    topic: str
    sentiment: str
    entities: tuple[Entity, ...]
    questions: tuple[Question, ...]
    summary: str
    """Sentence with the opinion that the passage is about, such as "Mara Venn likes the harvest pie."."""
    facts: tuple[tuple[str, str, str], ...]
    """Stated facts: relation, name of the subject, name of the object."""


@dataclass(frozen=True, eq=False)
class Thing:
    """Subject of a passage, such as "harvest pie" with the head "pie"."""

    name: str
    head: str
    topic: str


@dataclass(frozen=True, eq=False)
class Organization:
    """Employer, and the place where it is based."""

    name: str
    seat: str


@dataclass(frozen=True, eq=False)
class Person:
    """Person with the facts that passages state."""

    first: str
    last: str
    pronoun: str
    home: str
    work: Organization
    tastes: Mapping[str, Mapping[str, Thing]]
    """``likes`` and ``dislikes`` -> topic -> thing."""

    @property
    def name(self) -> str:
        """Full name."""
        return f"{self.first} {self.last}"

    def facts(self, relation: str) -> list[str]:
        """Return the names of everything to which this person has a relation."""
        if relation in self.tastes:
            return [thing.name for thing in self.tastes[relation].values()]
        return [self.home if relation == "home" else self.work.name]


def pick(rng: Random, items: Sequence[Item]) -> Item:
    """Return a random item. ``Random.choice`` may change between Python versions, so it is not used."""
    return items[int(rng.random() * len(items))]


class World:
    """People with homes, employers and tastes, all determined by the seed."""

    def __init__(self, seed: int) -> None:
        rng = Random(f"toy world {seed}")
        stock = [stem + ending for stem in grammar.NAME_STEMS for ending in grammar.NAME_ENDINGS]
        families = [*grammar.SHORT_NAMES, *_draw_distinct(300, lambda: pick(rng, stock))]
        firsts = [(first, pronoun) for pronoun, names in grammar.FIRST_NAMES.items() for first in names]

        def name(forms: Sequence[str]) -> str:
            family, other, (first, _) = pick(rng, families), pick(rng, families), pick(rng, firsts)
            return pick(rng, forms).format(family=family, other=other, first=first)

        self.places = _draw_distinct(150, lambda: name(grammar.PLACE_FORMS))
        self.organizations = [
            Organization(each, pick(rng, self.places))
            for each in _draw_distinct(200, lambda: name(grammar.ORGANIZATION_FORMS), taken=self.places)
        ]
        self.things = {topic: self._draw_things(rng, topic) for topic in TOPICS}
        self.people = []
        for full_name in _draw_distinct(1500, lambda: f"{pick(rng, firsts)[0]} {pick(rng, families)}"):
            first, last = full_name.split()
            home, work = pick(rng, self.places), pick(rng, self.organizations)
            tastes: dict[str, dict[str, Thing]] = {"likes": {}, "dislikes": {}}
            for topic, things in self.things.items():
                tastes["likes"][topic] = liked = pick(rng, things)
                tastes["dislikes"][topic] = pick(rng, [thing for thing in things if thing is not liked])
            self.people.append(Person(first, last, dict(firsts)[first], home, work, tastes))
        self.like_minded: dict[tuple[str, str], list[Person]] = {}
        """(sentiment, name of a thing) -> people with that opinion of it."""
        for person in self.people:
            for sentiment, relation in TASTES.items():
                for thing_name in person.facts(relation):
                    self.like_minded.setdefault((sentiment, thing_name), []).append(person)

    @staticmethod
    def _draw_things(rng: Random, topic: str) -> list[Thing]:
        heads = grammar.TOPICS[topic]["head"]
        names = _draw_distinct(50, lambda: f"{pick(rng, grammar.THING_MODIFIERS)} {pick(rng, heads)}")
        return [Thing(name, name.split()[-1], topic) for name in names]


def _draw_distinct(count: int, draw: Callable[[], str], taken: Sequence[str] = ()) -> list[str]:
    """Draw until there are ``count`` distinct names that are not in ``taken``."""
    found: dict[str, None] = {}
    while len(found) < count:
        name = draw()
        if name not in taken:
            found[name] = None
    return list(found)


@cache
def _pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    """Return a template as pairs of literal text and the slot after it."""
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


class Narrator:
    """Writer of one passage, which keeps track of mentions, entities and stated facts.

    Args:
        world: the world.
        rng: source of all random choices.
        person: main person of the passage.
        thing: thing that the passage is about.
        sentiment: opinion of the people about the thing.
    """

    def __init__(self, world: World, rng: Random, person: Person, thing: Thing, sentiment: str) -> None:
        self.world, self.rng, self.thing, self.sentiment = world, rng, thing, sentiment
        other = pick(rng, [topic for topic in TOPICS if topic != thing.topic])
        self.words = _words(thing.topic, sentiment, other)
        contrary = next(each for each in SENTIMENTS if each != sentiment)
        self.relation = {"feels": TASTES[sentiment], "minds": TASTES[contrary]}
        self.people = {"a": person, "b": self._companion(person)}
        self.things = {"t": thing, "d": person.tastes[self.relation["minds"]][other]}
        self.by_first_name = rng.random() < 0.5
        self.names = {"p": (pick(rng, world.places), "LOC"), "o": (pick(rng, world.organizations).name, "ORG")}

        self.parts: list[str] = []
        self.length = 0
        self.starts_sentence = True
        self.entities: list[Entity] = []
        self.first_start: dict[str, int] = {}
        """Name -> position at which it was first written in full."""
        self.mentioned: set[Person] = set()
        self.last_person: Person | None = None
        self.last_thing: Thing | None = None
        self.last_phrase: dict[str, str] = {}
        self.facts: list[tuple[str, str, str]] = []
        """(relation, name of the subject, name of the object)."""

    def passage(self, plans: Sequence[Sequence[str]] = grammar.PLANS) -> Passage:
        """Write the passage and return it with its questions.

        Args:
            plans: orders of sentences, one of which is chosen.
        """
        used: set[str] = set()
        for role in pick(self.rng, plans):
            sentence = pick(self.rng, grammar.SENTENCES[role])
            while sentence in used:
                sentence = pick(self.rng, grammar.SENTENCES[role])
            used.add(sentence)
            if self.parts:
                self._write(" ")
            self.starts_sentence = True
            for literal, slot in _pieces(sentence):
                if literal:
                    self._write(literal)
                if slot:
                    self._fill(slot)
        text = "".join(self.parts)
        questions = (*self._answerable_questions(), *self._unanswerable_questions(text))
        summary = f"{self.people['a'].name} {TASTES[self.sentiment]} the {self.thing.name}."
        facts = tuple(dict.fromkeys(self.facts))
        return Passage(text, self.thing.topic, self.sentiment, tuple(self.entities), questions, summary, facts)

    def _companion(self, person: Person) -> Person:
        """Return a person with the same opinion who shares no name with ``person``."""
        candidates = self.world.like_minded[self.sentiment, self.thing.name]
        while True:
            other = pick(self.rng, candidates)
            if other.first != person.first and other.last != person.last:
                return other

    def _write(self, text: str) -> None:
        """Append text, with a capital letter at the start of a sentence."""
        if self.starts_sentence and text != " ":
            text = text[0].upper() + text[1:]
            self.starts_sentence = False
        self.parts.append(text)
        self.length += len(text)

    def _write_name(self, name: str, entity_type: str, is_full: bool = True) -> None:
        """Append a name and record its entity."""
        if is_full:
            self.first_start.setdefault(name, self.length)
        self.entities.append(Entity(self.length, self.length + len(name), entity_type))
        self._write(name)

    def _fill(self, slot: str) -> None:
        """Append the text of a slot."""
        name, _, attribute = slot.partition(".")
        if name in self.people:
            self._write_person(self.people[name], attribute)
        elif name in self.things:
            self._write_thing(self.things[name], attribute)
        elif slot in self.names:
            self._write_name(*self.names[slot])
        else:
            self._write(self._phrase(slot))

    def _phrase(self, slot: str) -> str:
        """Return a random phrase of a word list, with its own slots filled."""
        has_article, slot = slot.startswith("an "), slot.removeprefix("an ")
        template = pick(self.rng, self.words[slot])
        while template == self.last_phrase.get(slot):  # avoids "he yawned and yawned"
            template = pick(self.rng, self.words[slot])
        phrase = "".join(text + (self._phrase(inner) if inner else "") for text, inner in _pieces(template))
        self.last_phrase[slot] = phrase
        if has_article:
            phrase = ("an " if phrase[0] in "aeiou" else "a ") + phrase
        return phrase

    def _write_person(self, person: Person, attribute: str) -> None:
        """Append a mention of a person, or a fact about the person, and record it."""
        if attribute in ("", "name", "he", "him", "his"):
            self._mention(person, attribute)
        elif attribute in ("feels", "minds"):
            thing = self.things["t" if attribute == "feels" else "d"]
            self.facts.append((self.relation[attribute], person.name, thing.name))
            self._write(self._phrase(attribute))
        elif attribute == "seat":
            self.facts.append((attribute, person.work.name, person.work.seat))
            self._write_name(person.work.seat, "LOC")
        else:
            name, entity_type = (person.home, "LOC") if attribute == "home" else (person.work.name, "ORG")
            self.facts.append((attribute, person.name, name))
            self._write_name(name, entity_type)

    def _mention(self, person: Person, case: str) -> None:
        """Append the full name at the first mention; later a part of it, or a pronoun if it is unambiguous."""
        is_known = person in self.mentioned
        if is_known and person is self.last_person and case != "name":
            is_unambiguous = not any(each.pronoun == person.pronoun for each in self.mentioned if each is not person)
            if case or (is_unambiguous and self.rng.random() < 0.6):
                self._write(_PRONOUNS[person.pronoun][case or "he"])
                return
        short = person.first if self.by_first_name else person.last
        self._write_name(short if is_known else person.name, "PER", is_full=not is_known)
        if case == "his":
            self._write("'s")
        self.last_person = person
        self.mentioned.add(person)

    def _write_thing(self, thing: Thing, attribute: str) -> None:
        """Append the name of a thing at the first mention; later its head or "it"."""
        is_known = thing.name in self.first_start
        if is_known and not attribute and thing is self.last_thing and self.rng.random() < 0.5:
            self._write("it")
            return
        self._write("the ")
        self.first_start.setdefault(thing.name, self.length)
        self._write(thing.head if is_known else thing.name)
        self.last_thing = thing

    def _answerable_questions(self) -> Iterator[Question]:
        """Yield a question about each side of every stated fact that has only one answer in the passage."""
        facts = dict.fromkeys(self.facts)
        for relation, subject, obj in facts:
            for side, (given, answer) in enumerate(((subject, obj), (obj, subject))):
                if sum(fact[0] == relation and fact[1 + side] == given for fact in facts) == 1:
                    wording = pick(self.rng, grammar.QUESTIONS[relation][side])
                    yield Question(wording.format(given), answer, self.first_start[answer])

    def _unanswerable_questions(self, text: str) -> Iterator[Question]:
        """Yield questions about unstated facts of the people in the passage, and about a person who is not in it."""
        stated = {fact[:2] for fact in self.facts}
        for person in self.people.values():
            relation = pick(self.rng, _RELATIONS)
            is_absent = not any(answer in text for answer in person.facts(relation))
            if is_absent and person in self.mentioned and (relation, person.name) not in stated:
                yield self._question(relation, person)
        stranger = self.people["a"]
        while stranger in self.mentioned:
            stranger = pick(self.rng, self.world.people)
        yield self._question(pick(self.rng, _RELATIONS), stranger)

    def _question(self, relation: str, person: Person) -> Question:
        return Question(pick(self.rng, grammar.QUESTIONS[relation][0]).format(person.name))
