"""Fair teaching: training questions and no others reach the opponents, and the dense model learns by its formula."""

import math
from copy import deepcopy
from random import Random

import pandas as pd
import pytest
import torch
from tiny_models import small_params
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from zmem_lib.opponents import tuned
from zmem_lib.opponents.bm25 import build_bm25, rank_bm25, save_bm25
from zmem_lib.opponents.dense import DOCUMENT, QUERY, load_encoder
from zmem_lib.params import changed

N = 12
ASKED = [f"asked{i}" for i in range(N)]  # words of questions: no passage has them
WORDS = ["[UNK]", "[PAD]", "who", "of", *ASKED, *[f"told{i}" for i in range(N)]]
PARAMS = small_params({"answer.dense_epochs": 30})


@pytest.fixture
def docs():
    return pd.DataFrame(
        [{"doc_id": f"d{i}", "title": "", "text": f"of told{i}", "part": "new" if i == N - 1 else "seen"}
         for i in range(N)]
    )  # fmt: skip


@pytest.fixture
def questions():
    forms = {"train": "who", "dev": "of", "test": "who of"}
    rows = [(f"{form} asked{i}", split, [f"d{i}"]) for split, form in forms.items() for i in range(N - 1)]
    rows.append((f"who asked{N - 1}", "new-test", [f"d{N - 1}"]))
    return pd.DataFrame(rows, columns=["question", "split", "gold_doc_ids"])


@pytest.fixture(scope="module")
def small_encoder(tmp_path_factory):
    """The folder of a sentence encoder with random weights, whose tokens are WORDS."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **shape)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def bm25(docs):
    return build_bm25(list(docs.doc_id), [f"{text} of" for text in docs.text])


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(tuned, "LR", 1e-2)  # a model that knows nothing learns little in a few steps of a small rate


def test_only_training_questions_about_seen_documents_teach(docs, questions):
    rows = [("who told0", "train", [f"d{N - 1}", "d0"]), ("who told1", "train", [f"d{N - 1}"]), ("x", "train", ["?"])]
    more = pd.concat([questions, pd.DataFrame(rows, columns=questions.columns)])
    chosen = tuned.taught_questions(docs, more)
    assert set(chosen.split) == {"train"} and len(chosen) == N
    assert chosen.gold_doc_ids.iloc[-1] == ["d0"], "a new document teaches nothing"
    assert set(tuned.taught_questions(docs, more, "dev").split) == {"dev"}
    assert list(tuned.taught_questions(docs, more.iloc[:0]).columns) == list(more.columns)
    with pytest.raises(AssertionError, match="nothing is taught by"):
        tuned.taught_questions(docs, more, "test")


def test_a_passage_is_followed_by_its_training_questions_and_no_others(docs, questions):
    both = pd.DataFrame([("of told1 who", "train", ["d0", "d2"])], columns=questions.columns)
    texts = tuned.asked_passages(docs, pd.concat([questions, both]))
    assert texts[0] == "of told0\nwho asked0\nof told1 who" and texts[2].endswith("of told1 who")
    assert texts[1] == "of told1\nwho asked1"
    assert texts[-1] == f"of told{N - 1}", "a new document is as it was"


def test_bm25_finds_a_document_by_the_words_in_which_it_was_asked(docs, questions):
    index = build_bm25(list(docs.doc_id), tuned.asked_passages(docs, questions))
    ids, scores = rank_bm25(index, ["of asked3", f"asked{N - 1}"], 1)
    assert ids[0] == ["d3"] and scores[0][0] > 0 and scores[1] == [0.0]


def test_an_epoch_takes_every_question_once_beside_a_gold_passage_of_its_own():
    rng = Random(3)
    gold = [[f"d{rng.randrange(60)}" for _ in range(1 + i % 3)] for i in range(2000)]
    drawn = tuned.batches(gold, Random(0))
    rows = [row for batch in drawn for _, some in batch for row in some]
    assert sorted(rows) == list(range(2000))
    assert all(doc_id in gold[row] for batch in drawn for doc_id, some in batch for row in some)
    assert max(len(some) for batch in drawn for _, some in batch) == tuned.ASKED
    assert [len(batch) for batch in drawn[:-1]] == [tuned.BATCH] * (len(drawn) - 1)
    assert drawn == tuned.batches(gold, Random(0)) != tuned.batches(gold, Random(1))
    assert tuned.batches([], Random(0)) == []


def test_hard_negatives_are_what_bm25_takes_for_the_gold_document_and_never_gold_or_new():
    texts = {"a": "amber bird", "b": "amber bird cloud", "c": "amber dust", "n": "amber bird", "o": "moss"}
    index = build_bm25(list(texts), list(texts.values()))
    train = pd.DataFrame({"question": ["amber bird", "amber bird"], "gold_doc_ids": [["a"], ["b", "c"]]})
    seen = {doc_id: text for doc_id, text in texts.items() if doc_id != "n"}
    first, second = tuned.hard_negatives(index, train, seen)
    assert first == ["b", "c", "o"]
    assert second == ["a", "o"]


def test_the_loss_is_the_field_s_own(small_encoder):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    encoder = load_encoder(small_encoder, "cpu").eval()
    asked, right, hard = ([f"{words}{i}" for i in range(4)] for words in ("who asked", "of told", "who of told"))
    own, gold = torch.arange(4), torch.eye(4, 8, dtype=torch.bool)
    vectors = tuned.embed(encoder, asked, QUERY), tuned.embed(encoder, right + hard, DOCUMENT)
    mine = tuned.in_batch_loss(*vectors, own, right=gold)
    features = [encoder.preprocess(texts) for texts in (asked, right, hard)]
    assert mine.item() == pytest.approx(MultipleNegativesRankingLoss(encoder)(features, labels=None).item(), abs=1e-5)
    by_hand = tuned.in_batch_loss(torch.eye(2), torch.eye(2), torch.arange(2), right=torch.eye(2).bool()).item()
    assert by_hand == pytest.approx(math.log(1 + math.exp(-tuned.SCALE)), abs=1e-7)


def test_a_passage_that_is_right_for_a_question_is_no_negative_of_it():
    asked, found = torch.tensor([[1.0], [2.0], [1.0]]), torch.tensor([[1.0], [3.0], [2.0]])
    right = torch.tensor([[True, True, False], [False, True, False], [True, False, False]])
    loss = tuned.in_batch_loss(asked, found, torch.tensor([0, 1, 0]), right=right, scale=1.0)
    first = math.log(math.exp(1) + math.exp(2)) - 1  # without the second passage, which is right as well
    second = math.log(math.exp(2) + math.exp(6) + math.exp(4)) - 6
    third = math.log(math.exp(1) + math.exp(3) + math.exp(2)) - 1
    assert loss.item() == pytest.approx((first + second + third) / 3, abs=1e-5)


def test_texts_are_embedded_in_their_order_whatever_their_length(small_encoder, monkeypatch):
    encoder = load_encoder(small_encoder, "cpu").eval()
    texts = ["who of told1", "of", "who asked2 of told3", "asked4 who"]
    whole = tuned.embed(encoder, texts, QUERY)
    monkeypatch.setattr(tuned, "TOGETHER", 2)
    assert torch.allclose(tuned.embed(encoder, texts, QUERY), whole, atol=1e-6)
    assert torch.allclose(torch.from_numpy(encoder.encode(texts, normalize_embeddings=True)), whole, atol=1e-5)


def test_the_dense_model_learns_from_questions_and_ends_at_its_best_checkpoint(
    small_encoder, docs, questions, bm25, quick
):
    encoder = load_encoder(small_encoder, "cpu")
    log = tuned.tune_encoder(encoder, questions, docs=docs, bm25=bm25, params=PARAMS)
    assert list(log.step) == list(range(31)) and log.loss[25:].mean() < log.loss[1:6].mean() / 2
    tried = log.dev_recall.dropna()
    assert list(tried.index) == [0, 10, 20, 30] and tried.max() > tried[0] + 0.4
    sample = tuned.dev_sample(tuned.taught_questions(docs, questions, "dev"), docs, PARAMS.seed)
    assert tuned.dev_recall(encoder, *sample) == tried.max()


def test_a_checkpoint_that_is_worse_on_dev_is_not_kept(small_encoder, docs, questions, bm25, quick, monkeypatch):
    found = iter([0.5, 0.9, 0.2, 0.4])
    seen = []
    monkeypatch.setattr(
        tuned, "dev_recall", lambda encoder, *_: seen.append(deepcopy(encoder.state_dict())) or next(found)
    )
    encoder = load_encoder(small_encoder, "cpu")
    tuned.tune_encoder(encoder, questions, docs=docs, bm25=bm25, params=PARAMS)
    same = [all(torch.equal(now, then[name]) for name, now in encoder.state_dict().items()) for then in seen]
    assert same == [False, True, False, False]


def test_tuning_follows_from_its_seed_and_from_no_held_out_question(small_encoder, docs, questions, bm25, quick):
    held_out = questions.split.isin(["test", "new-test"])
    other_questions = questions.assign(question=questions.question.mask(held_out, "who told0"))
    torch.manual_seed(1)
    first, again, other = (
        tuned.tune_encoder(
            load_encoder(small_encoder, "cpu"), table, docs=docs, bm25=bm25, params=changed(PARAMS, {"seed": seed})
        )
        for table, seed in ((questions, 7), (other_questions, 7), (questions, 8))
    )
    assert first.equals(again) and not first.equals(other)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1)), "the caller's random numbers go on as if nothing had been drawn"


def test_without_dev_questions_the_last_encoder_stays(small_encoder, docs, questions, bm25, quick):
    encoder = load_encoder(small_encoder, "cpu")
    before = deepcopy(encoder.state_dict())
    log = tuned.tune_encoder(encoder, questions[questions.split != "dev"], docs=docs, bm25=bm25, params=PARAMS)
    assert log.dev_recall.isna().all()
    assert not all(torch.equal(before[name], now) for name, now in encoder.state_dict().items())


def test_a_checkpoint_is_chosen_on_a_sample_that_holds_the_right_documents(docs, questions, monkeypatch):
    monkeypatch.setattr(tuned, "DEV_SAMPLE", 4)
    dev, candidates = tuned.dev_sample(tuned.taught_questions(docs, questions, "dev"), docs, 0)
    assert len(dev) == 4 and {ids[0] for ids in dev.gold_doc_ids} == set(candidates.doc_id)
    dev, candidates = tuned.dev_sample(dev.iloc[:1], docs, 0)
    assert len(candidates) == 4 and set(candidates.part) == {"seen"}


def test_what_a_killed_chapter_had_tuned_is_found_again_with_its_seconds(
    small_encoder, docs, questions, bm25, tmp_path
):
    params = changed(PARAMS, {"answer.dense_model": small_encoder, "answer.dense_epochs": 2, "machine.device": "cpu"})
    save_bm25(bm25, tmp_path / "bm25")
    for name, table in (("docs", docs), ("questions", questions)):
        table.to_parquet(tmp_path / f"{name}.parquet")
    log, seconds = tuned.make_tuned(tmp_path, docs, questions, params=params)
    assert {path.suffix for path in (tmp_path / "dense_tuned").rglob("*") if path.is_file()} == {
        ".safetensors",
        ".json",
    }
    tuned_here = load_encoder(small_encoder, "cpu")
    tuned.tune_encoder(tuned_here, questions, docs=docs, bm25=bm25, params=params)
    saved = load_encoder(str(tmp_path / "dense_tuned"), "cpu")
    assert (tuned_here.encode(["who asked1"]) == saved.encode(["who asked1"])).all()
    made = [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]
    again, as_before = tuned.make_tuned(tmp_path, docs, questions, params=params)
    assert seconds == as_before > 0 and again.equals(log) and len(log) == 3
    assert made == [(path, path.stat().st_mtime_ns) for path in sorted(tmp_path.rglob("*"))]
    other, _ = tuned.make_tuned(tmp_path, docs, questions, params=changed(params, {"answer.dense_epochs": 3}))
    assert len(other) == 4
    nothing, none = tuned.make_tuned(tmp_path, docs, questions, params=changed(params, {"answer.dense_epochs": 0}))
    assert nothing.empty and none == 0
