"""What the corpus of strangers is made of: letter pieces for made-up words, and the sentences and questions of a kind.

Nothing here is taken from phrasings.py: no value, no half of a name, no sentence form, no question form.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """An attribute: whether its values are capitalised, their own endings, the forms of sentences and questions."""

    capital: bool
    endings: tuple[str, ...]
    sentences: tuple[str, ...]
    questions: tuple[str, ...]


def _kind(capital: bool, endings: str, sentences: str, questions: str) -> Kind:
    return Kind(capital, _pieces(endings), _forms(sentences), _forms(questions))


def _forms(text: str) -> tuple[str, ...]:
    return tuple(form.strip() for line in text.strip().splitlines() for form in line.split("|"))


def _pieces(text: str) -> tuple[str, ...]:
    """The pieces of a line, where - stands for none; what is written twice is drawn twice as often."""
    return tuple(piece.strip("-") for piece in text.split())


ONSETS = _pieces(  # before the first vowel
    "b bl br c ch cl cr d dr f fl fr g gl gn gr h j k kl kn l m n p ph pl pr qu r s sc sh sk sl sm sn sp st str sw t "
    "th thr tr tw v w wh y z b c d f g h l m n p r s t b c d h l m p r s t - - - - - -"
)
VOWELS = _pieces("a e i o u a e i o u a e i o u a e i o a e i o ai au ea ee ie oa oo ou ei y")
MIDDLES = _pieces(
    "b bb c cc cch ck cl cr ct d dd dg dl f ff g gg gn h k l ld ll lm lt m mb mm mp n nc nd ng nk nn nt p pp ph pt r "
    "rb rd rk rl rm rn rp rr rt s sh sk sp ss st str t tch th tt v w x z zz b c d g k l m n p r s t v b d l m n r t"
)  # between two vowels
CODAS = _pieces(
    "b ch ck ct d ft g k l ld lk ll lm lp lt m mp n nc nd ng nk nt p pt r rch rd rk rl rm rn rp rt s sh sk sp ss st t "
    "tch th x d k l m n r s t n r"
)  # at the end
LINKS = _pieces(
    "d l m n r s t c b p g k nd l n r s - - - - - - - - - -"
)  # before an ending that begins with a consonant
ENDINGS = _pieces(
    "a o i y e ah al an and ant ar ard ary ate ay ba ber bo by cel chi cle co da der die do dy el ella en er era ery "
    "et eta ette ey fish ga ge ger go ian ic ice id ie il ile in ina ind ine ing ino ion ip ipa is ish ist it ka ken "
    "ker key king ko la land lar le let ley lin ling lo low ly ma mer mo mon na ner net ney nic no nut oa ob ock oda "
    "oin ol ola old ole om on one oni ony ook oon op or ora ord ork orn ot otta ow ox per pet phone ping po ra rel "
    "ret ri rot row ry sa se ser set sh sia sing so sta ster stry ta tar te tel ten ter ti tic tin ting tist tle to "
    "tor try tta um ur us ver vo za zo zz"
)
FIRST_ENDS = _pieces(
    "ah ane ard as bert cia ela en er ert essa fer fred ick ie ina iel ita lyn mund na nie no old o ora ph ra rick "
    "rid sa stas th ua vin wen y"
)
LAST_ENDS = _pieces(
    "all ard by cott croft dale den dock ell er ero ett ey ez gate ing ini kin land lett lock low mann mere more ova "
    "quist rell rick sen shaw ski son stein stow ter ury wick"
)

KINDS = {
    "birthplace": _kind(True, "ton a o ana en ol im is erth ia ova ence ague ida ost ing", """
        {value} is the city where {subject} was born. | {owner} birthplace is a place called {value}, by the sea.
        By birth {subject} is from {value}. | It was in {value} that {subject} first saw the world.
        The city of {value} counts {object} among its native people. | Born in {value}, {subject} came here as a child.
        """, """
        What city was {name} born in? | Tell me the place of birth of {name}. | Say where {name} was born.
        {name} was born in which city? | Which birthplace does {name} have? | Of what city is {name} a native?
        From which place does {name} come by birth? | Name the city in which {name} came into the world.
        """),
    "profession": _kind(False, "er er er or ist ian ant man smith ger eller ter eer yer ge", """
        Work as a {value} earns {object} a living. | For years {subject} worked as a {value}, a good job.
        {owner} profession is that of a {value}. | A {value} by trade, {subject} is busy all day long.
        To earn money {subject} works as a {value}. | {subject} became a {value}.
        """, """
        What is {name} by profession? | As what does {name} work? | Tell me the job that {name} does.
        How does {name} earn a living? | What is the trade of {name}? | What kind of work is done by {name}?
        {name} has which job? | Which profession has {name} learned?
        """),
    "instrument": _kind(False, "ion o et ine oon one in ar ola phone ano ello elin on ums", """
        The {value} is {owner} musical instrument. | {subject} has learned to play the {value}.
        Of all instruments {subject} plays only the {value}. | On the {value}, {subject} makes music every evening.
        {owner} friends enjoy the sound of the {value} at night. | {owner} instrument is the {value}.
        """, """
        What instrument can {name} play? | What does {name} play when there is music?
        Tell me what instrument {name} has.
        {name} makes music on which instrument? | Which kind of musical instrument has {name} played?
        What is the instrument that {name} has learned? | Say which musical instrument {name} likes to play.
        Is there an instrument that {name} plays, and which?
        """),
    "language": _kind(True, "ese ish ic ian an i ch atin ench ek indi erman ean ari ese ish", """
        {value} is {owner} foreign language. | While still at school, {subject} learned {value}.
        {subject} can talk in {value} with guests. | Besides English, {subject} knows {value}.
        All letters that {subject} writes are in {value}. | {subject} speaks and reads {value} well.
        """, """
        What language has {name} learned? | Besides English, what does {name} speak? | Say which language {name} knows.
        What language is spoken by {name}? | Tell me the foreign language that {name} speaks.
        What is the foreign language of {name}? | Which language is known by {name}?
        In what language are the letters of {name}?
        """),
    "sport": _kind(False, "ing ball ing ery o ton y ow ing ling ket key ping ugby olf", """
        The sport that {subject} practises is {value}. | Four times a week {subject} trains in {value}.
        Many a local medal for {value} was won by {object}. | For {value}, {subject} gets up early at the weekend.
        {subject} likes the kind of sport called {value} best. | With {value}, {subject} stays fit.
        """, """
        What kind of sport is done by {name}? | Tell me the sport of {name}. | For which sport does {name} train?
        {name} trains in what sport? | What is the sport that {name} likes? | What sport does {name} do at the weekend?
        Say which sport {name} has trained for. | In what sport did {name} win a medal?
        """),
    "pet": _kind(False, "y fish o bird ow le er et ard ot ster ey en ama ary on", """
        A {value} is the animal that {subject} has as a pet. | {owner} home is shared with a {value}.
        There is a {value} in {owner} house. | Before breakfast {subject} feeds the {value} in the yard.
        {owner} pet is a tame {value}. | With a {value} at home, {subject} is never alone.
        """, """
        What kind of animal is the pet of {name}? | Tell me the pet of {name}. | What animal lives with {name}?
        {name} likes to keep which pet? | Which animal is kept at home by {name}? | Which pet shares a home with {name}?
        To what animal does {name} give food? | What does {name} have as a pet?
        """),
    "dish": _kind(False, "i a s ola ette oni ie chi ash ada ing ies up ama een ish", """
        The dish called {value} is {owner} favourite. | Of all food {subject} likes {value} most.
        For guests {subject} always cooks {value}. | In a restaurant {subject} orders {value} whenever it is there.
        {owner} favourite food is {value}. | No other food, only {value}, makes {object} happy.
        """, """
        What food does {name} like most? | Tell me the favourite dish of {name}. | Say which food {name} likes to eat.
        {name} likes which dish better than any? | What dish does {name} order?
        What is the food that {name} eats best?
        What kind of food is the favourite of {name}? | What does {name} cook for guests?
        """),
    "colour": _kind(False, "ine ow et ish ose een ue ack ey ink an on al", """
        Most of {owner} clothes are {value}. | The colour {value} pleases {object} more than red.
        {subject} paints every door {value}. | {subject} wears only {value}, summer and winter.
        In {value}, {subject} looks best of all. | {owner} favourite colour is {value}.
        """, """
        What is the favourite colour of {name}? | Which colour does {name} wear? | What colour does {name} like best?
        Name the colour of the clothes of {name}. | In which colour does {name} look best? | {name} likes what colour?
        Tell me the colour that pleases {name}. | Which colour has every door of {name}?
        """),
    "car": _kind(True, "a o is us ada ion ero ta ra ix el at ari an", """
        The old {value} is {owner} car. | {subject} drives a {value} to work.
        In {owner} garage stands a {value}. | {subject} bought a new {value} in spring.
        {owner} car, a {value}, is very fast. | The {value} takes {object} over every hill.
        """, """
        Which car does {name} drive? | What is the car of {name}? | Name the car that {name} bought.
        In which car does {name} go to work? | What kind of car does {name} have? | {name} drives what car?
        Tell me the make of the car of {name}. | Which car stands in the garage of {name}?
        """),
    "tree": _kind(False, "ow er ar ine ess ech ple und ut ch ack ia ew", """
        A tall {value} stands in front of {owner} door. | {subject} planted a {value} in the garden.
        Under the {value}, {subject} spends warm evenings. | {subject} loves no tree as much as the {value}.
        In autumn {subject} sweeps up the leaves of the {value}. | {owner} tree, the {value}, is very old.
        """, """
        Which tree did {name} plant? | What tree stands in the garden of {name}? | Name the tree of {name}.
        Under which tree does {name} read? | What kind of tree does {name} love? | {name} has planted what tree?
        Tell me the tree that {name} loves most. | The leaves of which tree does {name} sweep up?
        """),
    "drink": _kind(False, "a ade er ine ino um ky ea onic ado ot ka in", """
        A glass of {value} is what {subject} drinks at night. | Each morning {subject} takes a cup of {value}.
        When thirsty, {subject} asks for {value}. | No drink tastes better to {object} than {value}.
        Cold {value} keeps {object} awake. | {owner} favourite drink is {value}.
        """, """
        What does {name} drink? | Which drink does {name} like best? | What is the favourite drink of {name}?
        Name the drink that {name} asks for. | What is in the glass of {name}? | {name} drinks what when thirsty?
        Tell me the drink of {name}. | Of which drink does {name} have a cup?
        """),
    "street": _kind(True, "er on ing en al ett by ock ard le ant ion ey", """
        {value} Street is {owner} address. | {subject} lives in {value} Street, near the church.
        {owner} door opens on {value} Street. | {subject} rents a room in {value} Street.
        Letters for {object} go to {value} Street. | For years {subject} has lived at three {value} Street.
        """, """
        In which street does {name} live? | What is the street of {name}? | Name the street where {name} lives.
        To which street do letters for {name} go? | What street is the address of {name}? | {name} lives in what street?
        Tell me the street in which {name} has a room. | On which street does the door of {name} open?
        """),
    "employer": _kind(True, "ex on co tec al is an er ix um ar ett o", """
        {value} Limited pays {object} every month. | {subject} is employed by {value} Limited.
        The company {value} Limited hired {object} last year. | {subject} has an office at {value} Limited.
        At {value} Limited, {subject} has a desk by the window. | {owner} employer is the firm {value} Limited.
        """, """
        Who is the employer of {name}? | Which company does {name} work for? | Name the firm that employs {name}.
        By which company is {name} paid? | At which firm does {name} have a desk? | {name} is employed by what company?
        Tell me the company that hired {name}. | In the office of which firm is {name} each day?
        """),
    "village": _kind(True, "by ow ey en ock ide ell ing er ock on ick une", """
        {value} is the village where {subject} lives now. | {subject} moved to the village of {value}.
        In {value}, a quiet village, {subject} owns a house. | After the wedding {subject} settled in {value}.
        {owner} village is called {value}. | The villagers of {value} all greet {object}.
        """, """
        In which village does {name} live now? | What is the village of {name}? | Name the village that {name} moved to.
        Where did {name} settle? | In what village does {name} own a house? | {name} lives in which village?
        Tell me the village where {name} lives. | The people of which village greet {name}?
        """),
    "book": _kind(True, "a ia us or ane ion el ing is er ow ora eth", """
        {value} is the book that {subject} reads again and again. | {subject} keeps the book {value} beside the bed.
        The novel {value} made {object} cry. | {subject} knows every page of {value}.
        No book moved {object} as much as {value}. | {owner} favourite novel is {value}.
        """, """
        Which book does {name} read again and again? | What is the favourite book of {name}? | Name the novel of {name}.
        What novel made {name} cry? | Of which book does {name} know every page? | {name} reads what book?
        Tell me the book that {name} keeps beside the bed. | Which book moved {name} most?
        """),
    "star": _kind(True, "us a is ar ion eth or ix ana eus al ora ast", """
        {value} is the star that {subject} looks for at night. | {subject} looks at the star {value} from the roof.
        High above {object} shines {value}. | {subject} named a daughter after the star {value}.
        Through the telescope {subject} saw {value}. | {owner} lucky star is {value}.
        """, """
        Which star does {name} look for? | What is the lucky star of {name}? | Name the star that {name} saw.
        At which star does {name} look from the roof? | What star shines above {name}? | {name} looks at what star?
        Tell me the star of {name}. | After which star did {name} name a daughter?
        """),
    "shop": _kind(True, "er y is o ies et ock on ett ell ard in a", """
        {value} is the shop where {subject} buys bread. | {subject} goes shopping at {value}.
        On Fridays {subject} goes to the shop called {value}. | Everything in {owner} basket is from {value}.
        The owner of {value} knows {object} by name. | {owner} favourite shop is {value}.
        """, """
        In which shop does {name} buy bread? | What is the favourite shop of {name}? | Name the shop of {name}.
        Where does {name} go shopping? | The owner of which shop knows {name}? | {name} buys bread in what shop?
        Tell me the shop to which {name} goes. | From what shop is the basket of {name}?
        """),
    "river": _kind(True, "er a e ine ess ame oire ow ube iver on ey uth", """
        The {value} is the river in which {subject} swims. | {subject} catches fish in the river {value}.
        On the banks of the {value}, {subject} walks with the children. | {subject} once fell into the {value}.
        Behind {owner} house flows the {value}. | A boat on the {value} belongs to {object}.
        """, """
        In which river does {name} swim? | What river flows behind the house of {name}? | Name the river of {name}.
        Into which river did {name} fall? | On what river is the boat of {name}? | {name} swims in what river?
        Tell me the river where {name} catches fish. | On the banks of which river does {name} walk?
        """),
    "teacher": _kind(True, "er on s ett ard ell ing ey man ock in ow ick", """
        Professor {value} taught {object} to think. | {subject} was a pupil of Professor {value}.
        As a student {subject} admired Professor {value}. | {owner} teacher was old Professor {value}.
        From Professor {value}, {subject} got the best marks. | Lessons with Professor {value} were hard for {object}.
        """, """
        Who was the teacher of {name}? | Which professor taught {name}? | Name the teacher of {name}.
        Whose pupil was {name}? | What professor did {name} admire? | {name} was taught by what professor?
        Tell me the teacher who gave {name} marks. | With which professor did {name} have lessons?
        """),
    "hobby": _kind(False, "ing ing ery ion ism ing ure ics aft ogy age ing", """
        Much as {subject} likes books, {value} is better still. | {subject} relaxes with {value} after supper.
        Since childhood {subject} has been fond of {value}. | In the cellar {subject} has room for {value}.
        {owner} free time goes into {value}. | With {value}, {subject} forgets the hours.
        """, """
        What is the hobby of {name}? | Which hobby does {name} have? | Name the hobby that {name} is fond of.
        With what does {name} relax? | What does {name} do in free time? | {name} has what hobby?
        Tell me the hobby of {name}. | For which hobby is there room in the cellar of {name}?
        """),
}  # fmt: skip
