"""Vocabulary and sentence templates of the toy world.

A template has slots in braces:

- ``{a}`` and ``{b}`` are people, ``{t}`` is the thing that the passage is about, ``{d}`` a thing of another topic,
  ``{p}`` a place, and ``{o}`` an organization.
- ``{a.home}``, ``{a.work}`` and ``{a.seat}`` (where the employer is based) state a fact about a person. So do
  ``{a.feels}``, a verb phrase with the opinion of ``a`` about ``t``, and ``{a.minds}``, the opposite opinion about
  ``d``.
- ``{a.he}``, ``{a.him}`` and ``{a.his}`` become pronouns if the reference is unambiguous. ``{a.name}`` and
  ``{t.name}`` never do.
- Every other slot names a word list below. ``{an x}`` adds the article, and a word may contain slots.
- ``{good}``, ``{verdict}``, ``{feels}``, ``{mood}`` and ``{reaction}`` express the sentiment of the passage, ``{bad}``
  and ``{contrary}`` the opposite sentiment.

The corpus is in British English. Any change to this file changes the generated text; then raise ``write.VERSION``.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = {
    "she": _words(
        """
        Mara Edda Nell Orla Tilda Isla Wren Lisbet Hester Ione Maud Petra Sunniva Thea Una Viola Willa Zelda Ada
        Bryony Clemency Dilys Elspeth Freya Greta Hilde Ingrid Juno Keziah Linnet Merle Odile Perpetua Rosalind
        Sabra Tamsin Verity Ysolde Cora Delphine
        """
    ),
    "he": _words(
        """
        Alban Bram Caspar Dorian Edmund Fergus Gideon Hugo Ivo Jasper Kester Lorcan Milo Ned Osric Piers Quentin
        Rafe Silas Tobias Ulric Vaughan Walter Xander Yorick Abel Barnaby Conrad Denzil Emrys Felix Gareth Hamish
        Ivor Jonas Lambert Magnus Nolan Oswin Percival
        """
    ),
}
# Families, places and organizations share the same names, so that only the context of a name shows its type.
NAME_STEMS = _words(
    """
    Al Ash Bar Bren Cal Cor Dar Dun El Fen Gar Hal Har Hol Kel Kin Lan Mar Mel Mor Nor Os Pen Ral Sel Stan Tar Thorn
    Ul Ven Wal Wen Win Yar
    """
)
NAME_ENDINGS = _words(
    """
    bury by combe cott dale den field ford ham ley lock mere more ridge ron sey ston ton well wick worth
    """
)
SHORT_NAMES = _words("Venn Cole Hollis Pell Marsh Quill Rusk Stroud Tull Vane Yeo Brand Crane Dray Frome Gant")
PLACE_FORMS = (
    *["{family}"] * 6,
    *("Port {family}", "Little {family}", "{family} Bay", "Saint {first}", "{family} Cross", "Upper {family}"),
)
ORGANIZATION_FORMS = (
    *["{family} & {other}"] * 3,
    *["{first} & {family}"] * 3,
    *["{family}"] * 4,
    *("{family} Brothers", "{family} Mills", "{family} Press", "{family} Trust", "{family} Foods", "House of {family}"),
)
# A thing is "<modifier> <head>". All topics share the modifiers, and each has its own heads.
THING_MODIFIERS = _words(
    """
    harvest winter river Monday midnight village summer morning northern Sunday garden island autumn lantern royal
    silver hilltop double market jubilee
    """
)

TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    "food": {
        "head": _words(
            """
            pie stew tart soup loaf pudding cheese omelette dumpling curry cake salad chutney porridge roast custard
            pancake casserole biscuit chowder jam sandwich broth trifle
            """
        ),
        "venue": ("kitchen", "bakery", "tea room", "dining hall", "orchard", "cellar", "canteen", "fishmonger's"),
        "role": ("cook", "baker", "waiter", "grocer", "brewer", "guest at the next table", "butcher"),
        "aspect": ("crust", "gravy", "seasoning", "filling", "aftertaste", "sauce", "portion", "glaze", "flavour"),
        "used": ("tasted", "cooked", "ordered", "baked", "shared", "served", "had a second helping of"),
        "doing": ("peeling apples", "stirring a pot", "kneading dough", "laying the table", "chopping onions",
                  "picking plums", "salting fish", "grinding pepper", "washing up"),
    },
    "music": {
        "head": _words(
            """
            waltz sonata ballad quartet hymn march lullaby overture jig symphony concert opera serenade reel anthem
            chorale song trio cantata recital polka duet orchestra choir
            """
        ),
        "venue": ("concert hall", "bandstand", "rehearsal room", "organ loft", "theatre", "record shop", "ballroom"),
        "role": ("fiddler", "singer", "conductor", "pianist", "drummer", "music teacher", "organist"),
        "aspect": ("melody", "rhythm", "harmony", "tempo", "chorus", "bass line", "singing", "finale", "solo"),
        "used": ("listened to", "rehearsed", "hummed along to", "recorded", "bought tickets for", "transcribed"),
        "doing": ("tuning a fiddle", "practising scales", "copying out a score", "beating time", "learning the harp",
                  "polishing a trumpet", "whistling", "singing in the stairwell"),
    },
    "sport": {
        "head": _words(
            """
            race relay regatta match marathon tournament sprint league derby climb cup final steeplechase
            championship fixture triathlon bout gymkhana rally contest hurdle playoff swim kickabout
            """
        ),
        "venue": ("stadium", "gymnasium", "running track", "boathouse", "changing room", "practice field", "rink"),
        "role": ("goalkeeper", "coach", "referee", "rower", "runner", "team captain", "umpire"),
        "aspect": ("pace", "teamwork", "defence", "refereeing", "finish", "training", "pitch", "scoring", "tackling"),
        "used": ("entered", "trained for", "watched", "competed in", "qualified for", "reported the score of"),
        "doing": ("lifting weights", "running laps", "oiling the oars", "practising penalties", "lacing boots",
                  "warming up", "kicking a ball about", "timing the sprinters"),
    },
    "travel": {
        "head": _words(
            """
            ferry railway coach cruise crossing tram bridge express voyage tour trail airship barge road sleeper
            pilgrimage excursion canal hostel steamer funicular caravan harbour trek
            """
        ),
        "venue": ("station", "quay", "waiting room", "campsite", "inn", "border post", "ticket office"),
        "role": ("guide", "ticket inspector", "porter", "fellow passenger", "innkeeper", "sailor", "map seller"),
        "aspect": ("view", "cabin", "itinerary", "scenery", "route", "seating", "departure", "luggage rack", "signage"),
        "used": ("took", "chose", "waited for", "planned a holiday around", "wrote a postcard about", "set out for"),
        "doing": ("packing a trunk", "studying a map", "buying a ticket", "changing trains", "hailing a cab",
                  "looking for a compass", "unfolding a tent", "stamping passports"),
    },
    "work": {
        "head": _words(
            """
            shift meeting ledger rota contract audit briefing inventory workshop payroll apprenticeship report
            deadline promotion office memo invoice budget survey project handover interview seminar negotiation
            """
        ),
        "venue": ("counting house", "warehouse", "factory floor", "boardroom", "filing room", "front desk"),
        "role": ("manager", "clerk", "accountant", "foreman", "secretary", "trainee", "shop steward"),
        "aspect": ("paperwork", "schedule", "pay", "supervision", "agenda", "workload", "planning", "wording"),
        "used": ("finished", "prepared", "signed off", "took charge of", "filed a note on", "drafted a plan for"),
        "doing": ("sorting the post", "typing letters", "checking invoices", "stacking crates", "adding up columns",
                  "hiring a clerk", "answering the telephone", "stamping forms"),
    },
    "health": {
        "head": _words(
            """
            clinic tonic diet remedy ointment checkup vaccine treatment massage therapy ward fast poultice nap syrup
            spa sanatorium pill lozenge bandage screening cure hospital stretch
            """
        ),
        "venue": ("surgery", "pharmacy", "bath house", "sickroom", "dispensary", "consulting room", "infirmary"),
        "role": ("nurse", "doctor", "patient", "pharmacist", "dentist", "midwife", "surgeon"),
        "aspect": ("dosage", "bedside manner", "advice", "recovery", "hygiene", "diagnosis", "nursing", "relief"),
        "used": ("tried", "was prescribed", "signed up for", "asked the doctor about", "recovered after", "relied on"),
        "doing": ("nursing a cold", "resting a sore knee", "taking a pulse", "counting pills", "wrapping an ankle",
                  "sleeping off a fever", "breathing deeply", "gargling salt water"),
    },
}  # fmt: skip

SENTIMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "positive": {
        "good": _words(
            """
            wonderful delightful splendid superb lovely charming excellent marvellous graceful refreshing generous
            pleasant brilliant admirable memorable satisfying soothing cheerful flawless impressive glorious
            first-rate enchanting inspiring rewarding magnificent welcoming exquisite heartening masterly
            """
        ),
        "feels": (
            *("loves", "adores", "likes", "enjoys", "treasures", "admires", "cherishes", "praises", "recommends"),
            *("is {very} fond of", "swears by", "cannot get enough of", "delights in", "speaks warmly of"),
            *("never tires of", "cannot fault", "has no complaint about", "would not miss", "sees no flaw in"),
            *("has nothing but praise for", "never grumbles about", "looks forward to", "has a soft spot for"),
        ),
        "reaction": (
            *("left smiling", "asked for more", "stayed until the very end", "came home in high spirits", "beamed"),
            *("told all the neighbours to go", "wrote a grateful letter", "clapped", "gave it full marks", "cheered"),
            *("did not want it to end", "had no wish to leave", "could not stop grinning", "felt at peace"),
            *("found nothing to complain about", "forgot every worry", "was not disappointed", "never once sighed"),
        ),
        "mood": ("delight", "joy", "gratitude", "contentment", "pride", "relief", "good cheer", "admiration"),
    },
    "negative": {
        "good": _words(
            """
            dreadful awful dismal tedious shabby clumsy miserable disappointing unpleasant ghastly mediocre tiresome
            feeble careless dreary bleak sloppy wretched irritating second-rate lifeless insulting hopeless pitiful
            horrid gloomy unbearable forgettable exasperating botched
            """
        ),
        "feels": (
            *("hates", "detests", "dislikes", "dreads", "loathes", "resents", "avoids", "curses", "scorns"),
            *("is {very} tired of", "cannot stand", "cannot bear", "complains about", "speaks bitterly of"),
            *("does not enjoy", "cannot praise", "has no love for", "would not recommend", "sees no charm in"),
            *("has nothing but scorn for", "never smiles at", "takes no pleasure in", "has a grudge against"),
        ),
        "reaction": (
            *("left frowning", "asked for a refund", "slipped out early", "came home in low spirits", "groaned"),
            *("told all the neighbours to stay away", "wrote an angry letter", "yawned", "gave it no marks", "sulked"),
            *("did not stay to the end", "had no wish to return", "could not stop sighing", "felt cheated"),
            *("found nothing to smile about", "lost all patience", "was not impressed", "never once cheered"),
        ),
        "mood": ("dismay", "boredom", "regret", "annoyance", "disgust", "weariness", "bad temper", "contempt"),
    },
}  # fmt: skip

COMMON: dict[str, tuple[str, ...]] = {
    "verdict": ("{good}", "{good}", "{very} {good}", "{good} and {good}", "{not} {bad}", "{not} {bad}"),
    "contrary": ("{bad}", "{bad}", "{very} {bad}", "{not} {good}"),
    "very": ("very", "truly", "quite", "deeply", "remarkably", "really", "thoroughly", "decidedly"),
    "not": ("not", "never", "anything but", "far from", "hardly", "by no means", "not in the least", "not exactly"),
    "kin": ("aunt", "brother", "cousin", "grandmother", "neighbour", "uncle", "sister", "landlady", "oldest friend"),
    "friend": ("friend", "colleague", "neighbour", "cousin", "old schoolmate", "partner"),
    "when": (
        *("last {season}", "on {day}", "last {day}", "early on {day}", "late on {day}", "one evening", "this {season}"),
        *("two weeks ago", "after lunch", "the other day", "at the end of the month", "one rainy afternoon"),
    ),
    "season": ("spring", "summer", "autumn", "winter"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "years": ("two", "three", "four", "five", "six", "seven", "nine", "ten", "twelve", "twenty"),
    "dwelling": ("small house", "flat", "cottage", "room above a shop", "narrow house", "farmhouse", "houseboat"),
}

SENTENCES: dict[str, tuple[str, ...]] = {
    "home": (
        "{a} lives in {a.home}.",
        "{a} has lived in {a.home} for {years} years.",
        "{a} moved to {a.home} {years} years ago and still lives there with {a.his} {kin}.",
        "{a} keeps {an dwelling} in {a.home}, not far from {an venue}.",
        "In {a.home}, where {a} lives, {a.he} is known to every {role}.",
        "{a} makes {a.his} home in {a.home}.",
        "{a} lives in {a.home}, in {an dwelling} that once belonged to {a.his} {kin}.",
    ),
    "work": (
        "{a} works for {a.work}.",
        "{a} has worked for {a.work} for {years} years.",
        "{a} joined the staff of {a.work} last {season}.",
        "{a} works for {a.work}, which is based in {a.seat}.",
        "{a} earns {a.his} living at {a.work}, a firm based in {a.seat}.",
        "{a} has a job at {a.work}. The firm has its offices in {a.seat}.",
        "At {a.work}, where {a} works, {a.he} is often seen with {an role}.",
        "{a} is employed by {a.work} of {a.seat}.",
    ),
    "both": (
        "{a} lives in {a.home} and works for {a.work}.",
        "{a.name}, who lives in {a.home}, has been with {a.work} for {years} years.",
        "{a} works for {a.work} but lives in {a.home}, in {an dwelling}.",
        "{a} took a job at {a.work} last {season} and lives in {a.home} with {a.his} {kin}.",
        "From {a.his} {dwelling} in {a.home}, {a.he} walks to {a.his} desk at {a.work}.",
    ),
    "opinion": (
        "{a} {a.feels} {t}.",
        "{a} {a.feels} {t} and says so to anyone who asks.",
        "{a} {a.feels} {t}, as {a.his} {kin} can confirm.",
        "Nobody doubts that {a} {a.feels} {t}.",
        "{when}, {a} told {an role} that {a.he} {a.feels} {t}.",
        "It is no secret that {a} {a.feels} {t}, with its {good} {aspect}.",
        "{a} {a.feels} {t.name}, which {a.he} calls {verdict}.",
        "As everyone in {p} knows, {a} {a.feels} {t}.",
    ),
    "event": (
        "{a} {used} {t} {when}.",
        "{when}, {a} {used} {t} with {a.his} {kin}.",
        "{when}, {a} went to {p} and {used} {t}.",
        "{a} had been {doing} before {a.he} {used} {t}.",
        "After {doing} for an hour, {a} {used} {t} near {p}.",
        "{when}, {a} read about {t} in a letter from {o}.",
        "It was in {p} that {a} first {used} {t}.",
        "{a} {used} {t} {when}, at {an venue} owned by {o}.",
    ),
    "scene": (
        "The {venue} in {p} was full, and {an role} was {doing} by the door.",
        "There is {an venue} in {p} where people talk of little else.",
        "{o} runs {an venue} in {p}.",
        "{an role} from {p} had come to the {venue} as well.",
        "{an role} and {an role} were {doing} in the {venue}.",
        "A notice from {o} hung in the {venue}.",
        "The {venue} had been closed since {day}, so people met in {p}.",
        "Some had come from {p} and others from the offices of {o}.",
    ),
    "reason": (
        "The {aspect} was {verdict}.",
        "The {aspect} was {verdict} and the {aspect} was {verdict}.",
        "{a} found the {aspect} {verdict}.",
        "{t} was {verdict} from beginning to end.",
        "What stayed with {a.him} was the {aspect}: it was {verdict}.",
        "According to {an role}, the {aspect} is {verdict}.",
        "There was talk of the {good} {aspect} for weeks.",
        "{a} spoke of the {aspect} with {mood}.",
        "In a word, {t} was {good}.",
    ),
    "contrast": (
        "{a.his} {kin} had expected something {contrary}, but {t} was {verdict}.",
        "Some call {t} {contrary}, but they have not seen the {aspect}, which is {verdict}.",
        "The {aspect} may have been {bad}, but all in all {t} was {verdict}.",
        "A newspaper in {p} had called {t} {contrary}; {a} found it {verdict}.",
        "{a} had been told that the {aspect} was {contrary}. It was {verdict}.",
        "At first {t} seemed {contrary}, yet by the end {a} thought it {verdict}.",
    ),
    "outcome": (
        "{a} {reaction}.",
        "When it was over, {a} {reaction}.",
        "In the end {a} {reaction}, and {a.his} {kin} {reaction} too.",
        "{a} {reaction} and {reaction}.",
        "Back in the {venue}, {a} {reaction}.",
        "{an role} {reaction}, and so {a} {reaction} as well.",
        "To nobody's surprise, {a} {reaction}.",
        "There was {mood} on every face.",
    ),
    "second": (
        "{b.name}, who lives in {b.home}, {b.feels} {t} too.",
        "{a.his} {friend} {b}, who works for {b.work}, {b.feels} {t} as well.",
        "{a} went there with {b} of {b.work}, who {b.feels} {t}.",
        "{b} came all the way from {b.home}, where {b.he} lives, and {reaction}.",
        "{when}, {a} met {b}, who works for {b.work} and {b.feels} {t}.",
        "{b}, {an friend} who works for {b.work} in {b.seat}, said that the {aspect} was {verdict}.",
        "{an friend} of {a.his} {kin}, {b}, lives in {b.home} and {b.feels} {t}.",
        "{a} heard from {b} that the {aspect} was {verdict}.",
    ),
    "second_more": (
        "{b} also {b.feels} {t}.",
        "{b} {reaction}.",
        "{b} {used} {t} {when}, and {reaction}.",
        "Afterwards {b} said with {mood} that {t} was {verdict}.",
    ),
    "aside": (
        "{a} had meant to spend the day {other doing}.",
        "{when}, {a} had thought of nothing but {d}.",
        "On other days {a} talks about {d}.",
        "{a.his} {kin} would rather talk about {d} than about {t}.",
        "Next door, {an other role} from {p} was {other doing}.",
        "People at the {other venue} had other things to talk about, such as {d}.",
        "By contrast, {a} {a.minds} {d}.",
        "{a} {a.minds} {d}, but that is another story.",
        "Before that, {a} had worked for {years} months as {an other role} in {p}.",
    ),
}

# Orders of the sentences of a passage. The first sentence introduces a, and each plan states a fact about a or b.
PLANS = tuple(
    plan.split()
    for plan in """
    home opinion reason
    home event reason outcome
    home event opinion aside outcome
    home scene opinion second reason
    home opinion second second_more reason
    home event contrast
    home aside event reason outcome
    work opinion reason
    work event scene reason outcome
    work aside opinion reason
    work event second second_more
    work opinion contrast outcome
    work event reason reason second
    both event outcome
    both opinion scene reason aside outcome
    both event contrast second
    both aside opinion outcome
    opinion reason
    opinion home reason outcome
    opinion scene reason second
    opinion work contrast
    opinion aside second outcome
    event reason work outcome
    event opinion home
    event contrast both second outcome
    event aside home second second_more
    event scene both opinion
    event work second contrast aside
    """.strip().splitlines()
)

# The only order of a passage that states nothing but an opinion.
OPINION_PLANS = (("opinion",),)

# Relation -> (questions about the object, given the subject; questions about the subject, given the object)
QUESTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "home": (
        ("Where does {} live?", "In which place does {} live?", "Where is the home of {}?"),
        ("Who lives in {}?", "Who has a home in {}?", "Whose home is in {}?"),
    ),
    "work": (
        ("Who does {} work for?", "Which firm employs {}?", "Where does {} have a job?"),
        ("Who works for {}?", "Who is employed by {}?", "Who has a job at {}?"),
    ),
    "seat": (
        ("Where is {} based?", "In which place does {} have its offices?"),
        ("Which firm is based in {}?", "Which firm has its offices in {}?"),
    ),
    "likes": (
        ("What does {} like?", "What is {} fond of?", "What does {} enjoy?"),
        ("Who likes the {}?", "Who is fond of the {}?", "Who enjoys the {}?"),
    ),
    "dislikes": (
        ("What does {} dislike?", "What is {} not fond of?", "What does {} not enjoy?"),
        ("Who dislikes the {}?", "Who is not fond of the {}?", "Who does not enjoy the {}?"),
    ),
}
