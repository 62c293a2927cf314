"""Built-in word lists for swaps, in English.

The lists are short. They leave out first names that are also common words, such as Grace and Mark, or given to all
genders, such as Jordan.
"""

from typing import Final

Pair = tuple[str, str]
"""Word of the first group and word of the second group."""


def _pairs(text: str) -> list[Pair]:
    """Return the pairs of a text with words such as ``she/he``."""
    words = (pair.split("/") for pair in text.split())
    return [(first, second) for first, second in words]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PRONOUNS: Final = _pairs("she/he her/him her/his hers/his herself/himself")

_NOUNS: Final = _pairs(
    """
    woman/man women/men girl/boy girls/boys gal/guy gals/guys lady/gentleman ladies/gentlemen
    female/male females/males mother/father mothers/fathers mom/dad moms/dads mommy/daddy mama/papa
    daughter/son daughters/sons sister/brother sisters/brothers wife/husband wives/husbands
    aunt/uncle aunts/uncles niece/nephew nieces/nephews grandmother/grandfather grandmothers/grandfathers
    grandma/grandpa granddaughter/grandson granddaughters/grandsons stepmother/stepfather stepsister/stepbrother
    stepdaughter/stepson bride/groom brides/grooms widow/widower widows/widowers girlfriend/boyfriend
    girlfriends/boyfriends mrs/mr madam/sir queen/king queens/kings princess/prince princesses/princes
    actress/actor actresses/actors waitress/waiter waitresses/waiters heroine/hero heroines/heroes
    businesswoman/businessman businesswomen/businessmen policewoman/policeman policewomen/policemen
    spokeswoman/spokesman congresswoman/congressman chairwoman/chairman saleswoman/salesman
    """
)

_FIRST_NAMES: Final = _pairs(
    """
    mary/james patricia/robert jennifer/john linda/michael elizabeth/david barbara/william susan/richard
    jessica/joseph sarah/thomas karen/charles lisa/christopher nancy/daniel margaret/matthew sandra/anthony
    ashley/donald kimberly/steven emily/paul donna/andrew michelle/joshua evelyn/kenneth amanda/kevin melissa/brian
    deborah/george stephanie/timothy rebecca/ronald laura/edward sharon/jason cynthia/jeffrey kathleen/gary
    shirley/jacob angela/nicholas anna/eric ruth/jonathan brenda/stephen nicole/larry katherine/justin
    samantha/scott catherine/benjamin christine/samuel emma/gregory helen/alexander debra/patrick rachel/peter
    carolyn/dennis janet/jerry maria/tyler heather/aaron diane/jose julie/adam olivia/nathan julia/henry
    alice/arthur martha/walter sophia/ethan jane/tom anne/harry lucy/oliver
    """
)

_RACE_NAMES: Final = _pairs(
    """
    aisha/emily keisha/anne tamika/jill lakisha/allison tanisha/laurie latoya/sarah latonya/meredith rasheed/todd
    tremayne/neil kareem/geoffrey darnell/brett tyrone/brendan hakim/greg jamal/matthew leroy/jay jermaine/brad
    """
)

BUILT_IN: Final[dict[str, tuple[Pair, list[Pair]]]] = {
    "gender": (("female", "male"), [*_PRONOUNS, *_NOUNS, *_FIRST_NAMES]),
    "race_names": (("Black names", "white names"), _RACE_NAMES),
}
"""Name of a list -> its groups and its pairs.

``race_names`` are first names of the field experiment of Bertrand and Mullainathan (2004), which were given mostly to
Black and mostly to white children in the United States.
"""

NO_NOUN_PHRASE: Final = _words(
    """
    a an the this that these those some any no each every all both another
    i you he she it we they me him her us them myself yourself himself herself itself ourselves themselves
    my your his its our their mine yours hers ours everyone everything someone something anyone anything nothing
    in on at to for from with by of about into over under after before between through during against among without
    within behind near off out up down away around across along toward towards upon onto until since than as
    and or but nor so yet if because when while where who whom whose which what why how though although unless
    is are was were be been being am do does did has have had will would can could may might must shall should
    not never again too also either just now here there today tonight tomorrow yesterday soon later anyway instead alone
    """
)
"""Words that cannot begin a noun phrase after a possessive pronoun, or hardly ever do."""
