"""The words that the synthetic corpus is made of: attributes, their values, sentences and questions; parts of names."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """Values that it can take, sentences that state it, and questions that ask for it, by split."""

    values: tuple[str, ...]
    sentences: tuple[str, ...]
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ATTRIBUTES = {
    "birthplace": Attribute(
        _words("Boston Bristol Cairo Dakar Delhi Ghent Hanoi Havana Kyoto Lagos Lima Oslo Perth Porto "
              "Prague Quito"),
        ("{subject} was born in the city of {value}.", "{subject} is a native of the city {value}.",
         "{subject} came into the world in {value}."),
        ("Where was {name} born?", "In which city was {name} born?", "What is the birthplace of {name}?",
         "Which city is {name} from by birth?", "Name the place where {name} was born."),
        ("In which place was {name} born?",),
        ("Which city is the birthplace of {name}?", "Which place is {name} from by birth?"),
    ),
    "profession": Attribute(
        _words("baker butcher carpenter chemist dentist farmer gardener jeweller judge lawyer librarian "
              "mason nurse painter pilot plumber"),
        ("{subject} has long worked as a {value} by trade.", "{subject} earns a good living as a {value}.",
         "{subject} is by profession a busy {value}."),
        ("What is the profession of {name}?", "What does {name} do for a living?", "What work does {name} do?",
         "Which job does {name} have?", "Name the job of {name}."),
        ("Which profession does {name} have?",),
        ("Which work does {name} do for a living?", "Name the profession of {name}."),
    ),
    "instrument": Attribute(
        _words("accordion banjo bassoon cello clarinet drums flute guitar harp mandolin oboe organ piano "
              "saxophone trombone trumpet"),
        ("{subject} plays the {value} on most evenings.", "{subject} practises the {value} before breakfast every day.",
         "{subject} likes to play the {value} with friends."),
        ("Which instrument does {name} play?", "What musical instrument does {name} play?",
         "Name the instrument that {name} plays.", "On which instrument does {name} make music?",
         "Which musical instrument is played by {name}?"),
        ("What is the musical instrument of {name}?",),
        ("Name the musical instrument of {name}.", "On which musical instrument does {name} play?"),
    ),
    "language": Attribute(
        _words("Arabic Basque Czech Danish Dutch Finnish Greek Hindi Hungarian Icelandic Japanese Korean "
              "Latin Maltese Persian Polish"),
        ("{subject} speaks {value} as well as English.", "{subject} learned to speak {value} while at school.",
         "{subject} reads and writes long letters in {value}."),
        ("Which language does {name} speak?", "What foreign language does {name} know?",
         "Name the language that {name} has learned.", "In which language can {name} talk?",
         "Which foreign language is spoken by {name}?"),
        ("What language can {name} speak?",),
        ("Name the foreign language that {name} can speak.", "Which language has {name} learned?"),
    ),
    "sport": Attribute(
        _words("archery badminton boxing climbing cricket curling cycling diving fencing golf handball "
              "hockey judo rowing rugby sailing"),
        ("{subject} trains for {value} three times a week.", "{subject} once won a local medal in {value}.",
         "{subject} spends most of the weekend at {value}."),
        ("Which sport does {name} do?", "What is the sport of {name}?", "Name the sport that {name} trains for.",
         "In which sport does {name} train?", "What kind of sport does {name} like?"),
        ("What sport does {name} train for?",),
        ("Name the sport that {name} likes best.", "Which kind of sport does {name} do?"),
    ),
    "pet": Attribute(
        _words("canary donkey duck falcon ferret gecko goat goldfish hamster hedgehog kitten lizard llama "
              "parrot peacock pony"),
        ("{subject} keeps a {value} at home as a pet.", "{subject} shares the house with a {value}.",
         "{subject} feeds a tame {value} every morning."),
        ("Which pet does {name} keep?", "What animal does {name} keep at home?", "What is the pet of {name}?",
         "Name the animal that {name} has as a pet.", "Which animal shares the home of {name}?"),
        ("What pet does {name} have?",),
        ("Which animal does {name} have at home?", "What kind of pet does {name} keep at home?"),
    ),
    "dish": Attribute(
        _words("chowder couscous curry dumplings falafel gnocchi goulash kebab lasagne moussaka omelette "
              "paella pancakes pizza porridge ramen"),
        ("{subject} likes {value} more than any other dish.", "{subject} always orders {value} in a restaurant.",
         "{subject} cooks {value} whenever there are guests."),
        ("Which dish does {name} like most?", "What is the favourite dish of {name}?", "What does {name} like to eat?",
         "Name the food that {name} likes best.", "Which food is the favourite of {name}?"),
        ("Which dish does {name} like best?",),
        ("Name the favourite food of {name}.", "Which food does {name} like to eat most?"),
    ),
}  # fmt: skip

FIRST_STEMS = _words("Al Bel Cor Dar El Fen Gar Hel Iv Jor Kel Lin Mar Nor Od Per Ros Sel Tam Ulr Ver Wil Yor Zel")
FIRST_ENDS = _words("a an eth ia ic in is on or us ette ander")
LAST_STEMS = _words(
    "Ash Black Brook Clay Dun East Fair Glen Hart Hazel Kirk Lang Marsh Mill North Oak Pen Rad Stan Stone Thorn West "
    "Whit Win"
)
LAST_ENDS = _words("bourne bridge bury field ford ham ley man ton well wood worth")
