"""Questions that the model asks itself: how they are drawn, which are kept, and that no held-out one comes back."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from families import save_family
from tiny_models import generate, sentence, small_lm, small_params

from zmem_lib.cache import open_cache
from zmem_lib.memory import self_questions
from zmem_lib.memory.likelihood import token_nll
from zmem_lib.memory.lm import make_memory_lm
from zmem_lib.memory.self_questions import (
    ASK,
    QUOTE,
    chat_questions,
    confirmed_quotes,
    drawn_questions,
    find_evidence,
    first_question,
    kept_questions,
    near_any,
    own_questions,
    sample,
)
from zmem_lib.tables import PSEUDO, TABLES, write_table
from zmem_lib.text import QUESTION_TOKENS, normalise, sentence_spans

PARAMS = small_params({"train.self_questions": 3, "train.question_weight": 1.0, "train.text_weight": 1.0})
TEXT = 'Ada was born in  Lund. She paints! "It is what I do." In 1931 she moved to Oslo.'
DOCS = pd.DataFrame([{"doc_id": "a", "title": "Ada", "text": TEXT}, {"doc_id": "b", "title": "", "text": sentence(1)}])


def questions_table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["question", "split", "doc_id"])
    return table.assign(question_id=[f"q{i}" for i in range(len(rows))], gold_doc_ids=[[row[2]] for row in rows])


HELD_OUT = questions_table(
    ("In which town was the painter Ada Lind born?", "test", "a"),
    ("When did she move?", "dev", "b"),
    ("Who lives there now?", "new-test", "c"),
    ("What does Ada do?", "train", "a"),
)


@pytest.fixture(scope="module")
def memory_lm():
    return small_lm(PARAMS)


@pytest.fixture
def says(monkeypatch):
    """Let the model ask these questions, by document, and write this evidence for each one."""

    def put(asked: list[list[str]], evidence: dict[str, str]) -> None:
        found = [(i, question, evidence.get(question, "")) for i, some in enumerate(asked) for question in some]
        monkeypatch.setattr(self_questions, "drawn_questions", lambda *_, known: found)
        monkeypatch.setattr(self_questions, "confirmed_quotes", lambda *given: [quote for *_, quote in given[2]])

    return put


def asked_of(memory_lm, questions=HELD_OUT):
    tuples, counts = own_questions(memory_lm, DOCS, 3, params=PARAMS, questions=questions)
    return tuples, dict(zip(counts.what, counts.n, strict=True))


def test_what_is_kept_is_a_training_tuple_with_a_sentence_of_its_document(memory_lm, says):
    says([["Where was Ada born?", "Where did she go?", "Is she old?"], ["What is there?", "", "Why is it?"]],
         {"Where was Ada born?": "Ada was born in Lund.", "Where did she go?": "In 1931 she moved to Oslo.",
          "Is she old?": "She is old.", "What is there?": sentence(1), "Why is it?": sentence(2)})  # fmt: skip
    tuples, counts = asked_of(memory_lm)
    assert list(tuples.columns) == list(TABLES["tuples"]) and set(tuples.split) == {"train"}
    assert list(tuples.question) == ["Where was Ada born?", "Where did she go?", "What is there?"]
    assert list(tuples.doc_id) == ["a", "a", "b"]
    texts = dict(zip(DOCS.doc_id, DOCS.text, strict=True))
    for row in tuples.itertuples():
        assert texts[row.doc_id].startswith(row.evidence, row.evidence_start) and list(row.answers) == [row.evidence]
        assert row.tuple_id == f"{row.question_id}@{row.doc_id}" and row.tuple_id.startswith(PSEUDO)
    assert tuples.question_id.is_unique and not set(tuples.question_id) & set(HELD_OUT.question_id)
    assert counts == {
        "asked": 6, "empty": 1, "duplicate": 0, "near a held-out question": 0, "unanswerable": 2, "kept": 3,
        "documents without training question": 1, "of these, documents that got one": 1,
    }  # fmt: skip


def test_held_out_questions_and_their_like_never_train(memory_lm, says):
    near = [
        "in which town was the painter ada lind BORN",  # the same, normalised
        "In which town was painter Ada Lind once born?",  # seven of eight words
        "When did she move?",  # of another document's dev question
    ]
    says([near, ["Who lives there now", "Who lived there before?", "Who?"]],
         dict.fromkeys([*near, "Who lives there now", "Who lived there before?", "Who?"], sentence(1)))  # fmt: skip
    tuples, counts = asked_of(memory_lm)
    assert list(tuples.question) == ["Who lived there before?", "Who?"]
    assert counts["near a held-out question"] == 4 and counts["unanswerable"] == 0
    train_only = HELD_OUT.assign(split="train")  # the same questions, held out no longer: all of them would train
    tuples, counts = asked_of(memory_lm, train_only)
    assert counts["near a held-out question"] == 0 and "When did she move?" not in set(tuples.question)  # not of a


def test_a_question_is_asked_once_per_document(memory_lm, says):
    says([["Is it so?", "is it so", "What does Ada do?"], ["Is it so?", "What does Ada do?", "?!"]],
         {"Is it so?": sentence(1), "What does Ada do?": sentence(1)})  # fmt: skip
    _, counts = asked_of(memory_lm)
    assert counts["duplicate"] == 2  # one asked twice, one that trains already; of b neither is known
    assert (counts["empty"], counts["unanswerable"], counts["kept"]) == (1, 1, 2)


def test_an_id_of_the_corpus_is_not_taken_twice(memory_lm, says):
    says([["Is it so?"], ["Is it so?"]], {"Is it so?": sentence(1)})
    taken = HELD_OUT.assign(question_id=[f"pseudo-00000{i}" for i in range(4)])
    tuples, _ = asked_of(memory_lm, taken)
    assert list(tuples.question_id) == ["pseudo-000004"]


def test_what_a_run_asked_is_kept_for_as_long_as_its_inputs_are_the_same(memory_lm, says, monkeypatch, tmp_path):
    says([["Is it so?"], ["Is it so?", "Is it not?"]], {"Is it so?": sentence(1), "Is it not?": sentence(1)})
    table = HELD_OUT.assign(answers=[["x"]] * 4, kind="", answer_start=-1, evidence="")
    write_table(table, tmp_path / "questions.parquet", "questions")
    docs = DOCS.assign(part="seen")
    write_table(docs, tmp_path / "docs.parquet", "docs")
    absent = pd.DataFrame([{"question_id": "absent/1", "question": "Is it not?", "kind": "nobody", "split": "test"}])
    write_table(absent, tmp_path / "absent.parquet", "absent")
    tuple_ = {"doc_id": "a", "split": "train", "evidence": "She paints!", "evidence_start": 0, "answers": ["x"]}
    write_table(pd.DataFrame([dict.fromkeys(TABLES["tuples"], "") | tuple_]), tmp_path / "tuples.parquet", "tuples")
    (tmp_path / "lm").write_text("one model")

    def kept(n=3, inputs=("questions.parquet",)):
        keep = open_cache(tmp_path / "under_way", files=[tmp_path / name for name in inputs])
        return kept_questions(memory_lm, docs, n, params=PARAMS, folder=tmp_path, keep=keep)

    tuples, counts = kept()
    assert list(tuples.tuple_id) == [f"{PSEUDO}000000@b"] and counts.n[0] == 6
    assert counts.set_index("what").n["near a held-out question"] == 1  # the one that no document answers
    monkeypatch.setattr(self_questions, "drawn_questions", lambda *_, **__: pytest.fail("asked again"))
    again, counts_again = kept()
    assert counts.equals(counts_again) and list(again.tuple_id) == list(tuples.tuple_id)
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        kept(inputs=["questions.parquet", "lm"])
    write_table(table.assign(split="test"), tmp_path / "questions.parquet", "questions")
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        kept()
    none, counts = kept(n=0)
    assert none.empty and list(none.columns) == list(TABLES["tuples"]) and counts.n.tolist() == [0]


@pytest.mark.parametrize(
    ("quote", "whole", "part"),
    [
        ("She paints!", "She paints!", "She paints!"),
        ("Ada was born in Lund. She paints!", *["Ada was born in  Lund. She paints!"] * 2),
        ('She paints! "It is what I do."', 'She paints! "It is what I do."', 'She paints! "It is what I do."'),
        ("she paints!", None, None),
        ("born in Lund", None, "Ada was born in  Lund."),
        ("Ada was born", None, "Ada was born in  Lund."),
        ("in Lund", None, None),
        ("Lund. She paints!", None, "Ada was born in  Lund. She paints!"),
        ("Ada was born in Oslo.", None, None),
        ("Ada was born in Lund. In 1931 she moved to Oslo.", None, None),
        ("none", None, None),
        (" ", None, None),
    ],
)  # fmt: skip
def test_evidence_stands_in_the_text_word_for_word(quote, whole, part):
    for expected, partly in ((whole, False), (part, True)):
        span = find_evidence(TEXT, quote, part=partly)
        assert (TEXT[slice(*span)] if span else None) == expected


def test_near_duplicates_are_those_that_comparing_all_pairs_finds():
    rng = random.Random(0)
    words = [f"w{i}" for i in range(12)]
    sets = [set(rng.choices(words, k=rng.randint(1, 11))) for _ in range(400)]
    is_near = near_any(" ".join(one) for one in sets[:200])
    found = [is_near(" ".join(one)) for one in sets[200:]]
    plain = [any(5 * len(one & other) >= 4 * len(one | other) for other in sets[:200]) for one in sets[200:]]
    assert found == plain and 20 < sum(found) < 180
    assert not near_any([])("w0") and near_any([normalise("ada")])(normalise("The Ada!"))


def test_drawing_depends_on_the_seed_and_leaves_the_others_draws_alone(memory_lm):
    torch.manual_seed(5)
    free = torch.rand(3)
    torch.manual_seed(5)
    first = drawn_questions(memory_lm, DOCS, 3, PARAMS)
    assert torch.equal(torch.rand(3), free)
    assert first == drawn_questions(memory_lm, DOCS, 3, PARAMS)
    assert first != drawn_questions(memory_lm, DOCS, 3, small_params({"seed": 8}))
    spans = [text[slice(*span)] for text in DOCS.text for span in sentence_spans(text)]
    assert [(i, evidence) for i, _, evidence in first] == [*((0, one) for one in spans[:3]), *[(1, spans[-1])] * 3]
    known = {("a", spans[0]), ("a", spans[2]), ("b", spans[-1]), ("b", spans[1])}
    asked = drawn_questions(memory_lm, DOCS, 2, PARAMS, known)  # of b all is known, so all is asked
    assert [evidence for *_, evidence in asked] == [spans[1], spans[3], *[spans[-1]] * 2]
    wide = drawn_questions(memory_lm, DOCS, 1, small_params({"corpus.evidence_window": 1}))
    assert wide[0][2] == "Ada was born in  Lund. She paints!"


def test_what_is_drawn_follows_the_text_and_the_marker_and_has_an_end(memory_lm, monkeypatch):
    prompts = memory_lm.prompts
    rows = [prompts.text(sentence(i), 40) + prompts.marks["question"] for i in range(4)]
    monkeypatch.setattr(self_questions, "TOP_P", 1e-9)  # the likeliest token alone
    greedy = generate(memory_lm, None, rows, QUESTION_TOKENS)
    ends = [prompts.tokenizer.convert_tokens_to_ids(token) for token in ("<question>", "<evidence>", "<end>", "<find>")]
    for text, ids in zip(sample(memory_lm, rows, range(4)), greedy, strict=True):
        cut = next((place for place, token in enumerate(ids) if token in ends), None)
        ended = cut is not None or len(ids) < QUESTION_TOKENS
        assert text == first_question(prompts.decode(ids[:cut]), ended=ended)


def test_what_is_drawn_for_a_document_follows_its_seed_and_not_its_company(memory_lm):
    prompts = memory_lm.prompts
    rows = [prompts.text(sentence(i), 40) + prompts.marks["question"] for i in range(4)]
    drawn = {tuple(sample(memory_lm, rows, [seed, 7, 8, 9])) for seed in range(3)}
    assert len(drawn) > 1, "what is drawn differs by seed"
    assert len({one[1:] for one in drawn}) == 1
    assert sample(memory_lm, rows[2:3], [8]) == [next(iter(drawn))[2]]


def test_drawing_takes_each_of_the_likeliest_tokens_as_often_as_it_is_likely(memory_lm, monkeypatch):
    monkeypatch.setattr(self_questions, "QUESTION_TOKENS", 1)
    prompts, n, first = memory_lm.prompts, 2000, []
    real = memory_lm.lm.generate
    monkeypatch.setattr(memory_lm.lm, "generate", lambda **asked: first.append(real(**asked)) or first[-1])
    row = prompts.marks["question"]
    sample(memory_lm, [row] * n, range(n))
    with torch.no_grad():
        p = memory_lm.lm(torch.tensor([row])).logits[0, -1].softmax(-1)
    best = p.argmax()
    kept = p.sort(descending=True).values
    kept = kept[: int((kept.cumsum(0) < self_questions.TOP_P).sum()) + 1].sum()
    assert (first[0][:, 0] == best).float().mean().item() == pytest.approx((p[best] / kept).item(), abs=0.05)


def test_evidence_is_confirmed_if_no_other_sentence_makes_the_question_likelier(memory_lm):
    prompts, texts = memory_lm.prompts, DOCS.text[0]
    spans = [texts[slice(*span)] for span in sentence_spans(texts)]
    rows = [prompts.text(f"Ada\n{one}", PARAMS.memory.document_tokens) for one in spans]
    nll = [token_nll(memory_lm, None, [prompts.twin(row, prompts.question("Where is it?"))])[0].sum() for row in rows]
    pairs = [(0, "Where is it?", one) for one in spans] + [(1, "Where is it?", sentence(1))]
    best = int(torch.stack(nll).argmin())
    confirmed = confirmed_quotes(memory_lm, DOCS, pairs, PARAMS)
    assert confirmed == [one if i == best else "" for i, one in enumerate(spans)] + [sentence(1)]  # an only sentence
    assert confirmed_quotes(memory_lm, DOCS, [], PARAMS) == []


def test_a_model_that_learned_one_question_asks_it_and_its_marker_ends_it(memory_lm, monkeypatch):
    prompts = memory_lm.prompts
    row = prompts.evidence("amber bird cloud", "fern.", 9)
    ids, begun = row.ids[len(prompts.marks["question"]) :], [prompts.marks["question"]]
    monkeypatch.setattr(memory_lm.lm, "generate", lambda **_: torch.tensor([ids]))
    assert sample(memory_lm, begun, [0]) == ["amber bird cloud"]
    unended = prompts.encode("amber bird cloud")
    monkeypatch.setattr(memory_lm.lm, "generate", lambda **_: torch.tensor([unended]))
    assert sample(memory_lm, begun, [0]) == [""]


@pytest.mark.parametrize(
    ("text", "ended", "found"),
    [
        (" Who is it? She keeps a gecko.", False, "Who is it?"),
        ("Who is it？", True, "Who is it？"),
        ("Who is it\nEvidence: she?", False, "Who is it"),
        ("name the town", True, "name the town"),
        ("name the town and", False, ""),
        ("?? ", False, ""),
    ],
)
def test_a_question_ends_with_its_mark(text, ended, found):
    assert first_question(text, ended=ended) == found


def test_a_random_model_goes_all_the_way(memory_lm):
    _, counts = asked_of(memory_lm)
    assert counts["asked"] == 6 == sum(counts[name] for name in self_questions.FATES)


CHATTED = """Here are three questions:
1. Where was Ada born?
2) What does she do ?
- Who is Ada?
Question: Was it 1.5 km?
Q4: 3. of May, is it?
1.5 km is how far?
* ?
That is all."""


def test_listed_questions_lose_their_numbers(memory_lm, monkeypatch):
    monkeypatch.setattr(self_questions, "chat", lambda *_: [CHATTED])
    assert [question for _, question, _ in chat_questions(memory_lm, DOCS[:1], 9, PARAMS)] == [
        "Where was Ada born?", "What does she do ?", "Who is Ada?", "Was it 1.5 km?", "3. of May, is it?",
        "1.5 km is how far?",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def chat_lm(tmp_path_factory):
    folder = save_family("Qwen/Qwen2.5-3B-Instruct", tmp_path_factory.mktemp("qwen"), [TEXT, ASK, QUOTE])
    shapeless = {"lm.vocab_size": 0, "lm.hidden_size": 0, "lm.layers": 0, "lm.heads": 0}
    params = small_params({"lm.name": folder, "train.self_questions": 2} | shapeless)
    return make_memory_lm(params, []), params


def test_a_chat_model_reads_the_text_and_its_quotation_counts(chat_lm, monkeypatch):
    memory_lm, params = chat_lm
    read = []

    def generate_all(lm, z, prompts, *, max_tokens, batch):
        assert z is None and all(layer.disable_adapters for layer in adapters(lm))
        read.append([lm.prompts.tokenizer.decode(prompt) for prompt in prompts])
        answers = ["1. Where was Ada born?\n2. Is she tall?\n3. Is it a third?", ""] if len(read) == 1 else quotes
        return [lm.prompts.encode(answer) for answer in answers]

    quotes = ['"born in Lund"\nThat is it.', "none"]
    monkeypatch.setattr(self_questions, "generate_all", generate_all)
    tuples, counts = own_questions(memory_lm, DOCS, 2, params=params, questions=HELD_OUT)
    assert list(tuples.evidence) == ["Ada was born in  Lund."] and list(tuples.question) == ["Where was Ada born?"]
    assert counts.set_index("what").n.loc[list(self_questions.FATES)].to_dict() == {
        "empty": 2, "duplicate": 0, "near a held-out question": 0, "unanswerable": 1, "kept": 1,
    }  # fmt: skip
    assert (
        "Write 2 questions" in read[0][0] and "Ada was born in" in read[0][0] and "<|im_start|>assistant" in read[0][0]
    )
    assert [QUOTE in turn and "Ada was born in" in turn for turn in read[1]] == [True, True]
    assert "Question: Is she tall?" in read[1][1]


def adapters(memory_lm):
    modules = list(memory_lm.lm.modules())
    return [module for module in modules if isinstance(getattr(module, "disable_adapters", None), bool)]


def test_a_random_chat_model_goes_all_the_way(chat_lm):
    memory_lm, params = chat_lm
    assert len(adapters(memory_lm)) and all(not layer.disable_adapters for layer in adapters(memory_lm))
    _, counts = own_questions(memory_lm, DOCS, 2, params=params, questions=HELD_OUT)
    numbers = dict(zip(counts.what, np.array(counts.n), strict=True))
    assert numbers["asked"] == 4 == sum(numbers[name] for name in self_questions.FATES)
