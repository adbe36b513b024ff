"""A local model of entailment: a tiny random one, whose verdicts are made to depend on what is asked."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from zmem_lib.files import BadInput
from zmem_lib.judges.entailment import Entailer, entailed, load_entailer, sentence_claims
from zmem_lib.params import read_params
from zmem_lib.runs.before import fetch


def save_nli(folder, labels=("contradiction", "ENTAILMENT", "neutral"), *, safe=True):
    """A tiny classifier of pairs with random weights."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghijklmnopqrstuvwxyz"]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, id2label=dict(enumerate(labels)), initializer_range=0.4,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    if safe:
        model.save_pretrained(folder)
    else:
        config.save_pretrained(folder)
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def entailer(tmp_path_factory) -> Entailer:
    return load_entailer(str(save_nli(tmp_path_factory.mktemp("nli"))), "cpu")


def one_by_one(entailer, text, claim):
    inputs = entailer.tokenizer(text, claim, return_tensors="pt")
    with torch.no_grad():
        return float(entailer.model(**inputs).logits.argmax() == 1)


def test_batches_say_what_single_pairs_say(entailer):
    texts, claims = ["abc", "a long text of many words", "zz", "m"], ["q", "some claim", "xyz xyz xyz"]
    found = entailed(entailer, [(claims, text, "") for text in texts])
    expected = [[one_by_one(entailer, text, claim) for claim in claims] for text in texts]
    np.testing.assert_array_equal(found, expected)
    assert 0 < np.mean(expected) < 1, "the tiny model says both"


def test_answers_stand_behind_their_question_and_nothing_entails_nothing(entailer):
    checks = [(["q", "zz"], "abc", "why"), (["q"], " ", "why"), ([], "abc", "")]
    found = entailed(entailer, checks)
    assert found[0].tolist() == [one_by_one(entailer, "why abc", claim) for claim in ("q", "zz")]
    assert found[1].tolist() == [0] and found[2].tolist() == []


def test_long_texts_are_cut(entailer):
    assert entailer.most_tokens == 64
    assert entailed(entailer, [(["q"], "word " * 200, "")])[0].tolist() in ([0], [1])


def test_claims_are_sentences_behind_their_question():
    claims = sentence_claims([("Where?", "In Velmoor. By the sea!"), ("Who?", "")])
    assert claims == [["Where? In Velmoor.", "Where? By the sea!"], []]


def test_what_is_no_model_of_entailment_is_refused(tmp_path):
    with pytest.raises(BadInput, match="labels label_0, label_1 and no 'entailment'"):
        load_entailer(str(save_nli(tmp_path / "other", ("LABEL_0", "LABEL_1"))), "cpu")
    with pytest.raises(BadInput, match="cannot be loaded"):
        load_entailer(str(save_nli(tmp_path / "unsafe", safe=False)), "cpu")
    with pytest.raises(BadInput, match="is not a folder"):
        load_entailer(str(tmp_path / "nowhere"), "cpu")


def test_a_missing_model_is_said_before_chapter_1_and_before_6(tmp_path):
    values = [f"evaluate.judge_model={tmp_path / 'nowhere'}", "evaluate.judge=nli"]
    params = read_params("params/smoke.yaml", values)
    for number in (1, 6):
        with pytest.raises(BadInput, match="is not a folder: give the folder of a model of entailment"):
            fetch(params, number)
    fetch(params, 2)
