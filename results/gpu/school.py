#!/usr/bin/env python3
"""School SmolLM2-135M to write evidence from text and from a compressed start of z; then write z of unseen documents.

Made the files of this folder. Standalone: torch, transformers (with gguf), numpy, safetensors. Phases are boxed in seconds; every figure is written as it comes.
usage: school.py --model FOLDER_WITH_GGUF --data FOLDER --out FOLDER [--school 240] [--write 90] [--rows 96] [--documents 400]
z start: a document's tokens are spread over K slots; z_k is the sum over the slot's places j of W_j e_j (a strided convolution, learned).
"""

import argparse
import json
import math
import random
import re
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

PLACES = 8  # of a slot: 256 tokens over 32 slots


class Lora(nn.Module):
    """A frozen linear layer with a low-rank addition, whose products are in the layer's own dtype."""

    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear
        self.a = nn.Parameter(torch.randn(rank, linear.in_features, device=linear.weight.device) / math.sqrt(linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank, device=linear.weight.device))

    def forward(self, x):
        return self.linear(x) + 2 * F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype))


class Tokens:
    """One packed corpus."""

    def __init__(self, path):
        with np.load(path) as packed:
            z = {name: packed[name] for name in packed.files}  # an open archive unpacks an array at every look
        cut = lambda name, at: [z[name][i:j].astype(np.int64) for i, j in zip(z[at][:-1], z[at][1:], strict=True)]  # noqa: E731
        self.texts, self.questions, self.evidence = cut("texts", "text_at"), cut("questions", "question_at"), cut("evidence", "evidence_at")
        sents = cut("sents", "sent_at")
        self.sents = [sents[i:j] for i, j in zip(z["sent_of"][:-1], z["sent_of"][1:], strict=True)]
        self.doc, self.test = z["doc"], z["test"]
        self.answers = [one.split("\x1e") for one in z["answers"].tobytes().decode().split("\x1f")]


def normal(text):
    text = re.sub(r"[^\w\s]", " ", text.lower())
    return " " + re.sub(r"\s+", " ", re.sub(r"\b(a|an|the)\b", " ", text)).strip() + " "


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--model", required=True), p.add_argument("--data", required=True), p.add_argument("--out", required=True)
    for name, value in dict(school=240.0, mend=50.0, write=90.0, lr=5e-4, connector_lr=5e-4, mend_lr=3e-4, until=1e9).items():
        p.add_argument(f"--{name.replace('_', '-')}", type=float, default=value)
    for name, value in dict(rows=96, text_rows=48, sentence_rows=48, k=32, rank=16, questions=400, documents=400, together=400, every=60, seed=0).items():
        p.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    p.add_argument("--write-lr", type=float, nargs="+", default=[0.1])
    p.add_argument("--adapter", help="folder of a schooled adapter: no schooling, writing alone")
    p.add_argument("--all", action="store_true", help="all weights of the layers learn (lr 1e-4), kept as the low-rank part of their difference")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = p.parse_args()
    random.seed(a.seed), torch.manual_seed(a.seed)
    born = time.time()
    out, device = Path(a.out), torch.device(a.device)
    out.mkdir(parents=True, exist_ok=True)
    log = (out / "log.jsonl").open("a")

    def tell(**what):
        what["clock"] = round(time.time() - born, 1)
        print(json.dumps(what), flush=True)
        log.write(json.dumps(what) + "\n"), log.flush()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    began = time.time()
    folder, dtype = Path(a.model), torch.float32 if a.all else torch.bfloat16
    if (gguf := next(folder.glob("*.gguf"), None)) is not None:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf.name)
        lm = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf.name, dtype=dtype)
    else:
        tokenizer, lm = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    lm = lm.to(device).requires_grad_(False)
    embed, end = lm.get_input_embeddings().weight, tokenizer.eos_token_id
    width, scale = embed.shape[1], embed.float().std().item()
    loras, holders = [], []
    for layer in lm.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, nn.Linear):
                    if not a.all:
                        setattr(part, name, Lora(child, a.rank))
                    loras.append(getattr(part, name)), holders.append((part, name))
    places = nn.Parameter(torch.eye(width, device=device).repeat(PLACES, 1, 1) / math.sqrt(5))  # (J,D,D)
    weights = [one.weight.requires_grad_(True) for one in loras] if a.all else [w for one in loras for w in (one.a, one.b)]
    before = [w.detach().to("cpu", torch.bfloat16) for w in weights] if a.all else []
    arithmetic = (lambda: torch.autocast(device.type, torch.bfloat16)) if a.all else nullcontext
    a.lr = 1e-4 if a.all and a.lr == p.get_default("lr") else a.lr
    flags = (out / "flags.jsonl").open("a")
    optimiser = torch.optim.AdamW([{"params": weights, "first": a.lr}, {"params": [places], "first": a.connector_lr}], betas=(0.9, 0.98), weight_decay=0.0)
    tell(loaded=round(time.time() - began, 1), device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu", embedding_std=scale, learning=sum(w.numel() for w in weights))

    encode = lambda text: np.array(tokenizer(text, add_special_tokens=False)["input_ids"])  # noqa: E731
    passage, question, evidence = encode("Passage:\n"), encode("\nQuestion:"), encode("\nEvidence:")
    train, dev = Tokens(Path(a.data) / "train.npz"), Tokens(Path(a.data) / "dev.npz")

    def slots(texts):
        """Token ids (B,K,J) of documents spread over slots, -1 where a place is empty."""
        ids = np.full((len(texts), a.k, PLACES), -1)
        for b, text in enumerate(texts):
            for k, chunk in enumerate(np.array_split(text[: a.k * PLACES], a.k)):
                ids[b, k, : len(chunk)] = chunk
        return torch.from_numpy(ids).to(device)

    def start(texts):
        """z (B,K,D) at its start, float32; gradients flow to the places."""
        ids = slots(texts)
        embedded = embed[ids.clamp(min=0)].float() * (ids >= 0).unsqueeze(-1)  # (B,K,J,D)
        return torch.einsum("bkjd,jde->bke", embedded, places)

    def batch(rows):
        """ids, counted, mask (B,T) of (given, learned) rows."""
        size = max(len(g) + len(t) for g, t in rows)
        ids, counted, mask = np.full((len(rows), size), end), np.zeros((len(rows), size), bool), np.zeros((len(rows), size), np.int64)
        for i, (given, learned) in enumerate(rows):
            n = len(given) + len(learned)
            ids[i, :n], counted[i, len(given) : n], mask[i, :n] = np.concatenate([given, learned]), True, 1
        return (torch.from_numpy(x).to(device) for x in (ids, counted, mask))

    def nll(z, rows):
        """-log p (counted,) of what is learned in rows, behind z (B,K,D) or nothing."""
        ids, counted, mask = batch(rows)
        embedded = embed[ids]
        if z is not None:
            head = embed[torch.from_numpy(passage).to(device)].expand(len(rows), -1, -1)
            embedded = torch.cat([head, z.to(embedded.dtype), embedded], 1)
            mask = torch.cat([mask.new_ones(len(rows), len(passage) + z.shape[1]), mask], 1)
        with arithmetic():
            states = lm.model(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state[:, -ids.shape[1] - 1 :]
            states = states[:, :-1] if z is not None else F.pad(states[:, :-1], (0, 0, 1, 0))[:, -ids.shape[1] :]
            logits = lm.lm_head(states[counted])
        return F.cross_entropy(logits.float(), ids[counted], reduction="none")

    asked = lambda data, i: np.concatenate([question, data.questions[i], evidence])  # noqa: E731
    ended = lambda ids: np.append(ids, end)  # noqa: E731
    questions_of = {}
    for i, d in enumerate(train.doc):
        questions_of.setdefault(int(d), []).append(i)
    documents = sorted(questions_of)

    def step_rows():
        chosen = random.sample(documents, a.rows // 2)
        rows, own = [], []
        for b, d in enumerate(chosen):
            for i in random.sample(questions_of[d], min(2, len(questions_of[d]))):
                rows.append((np.concatenate([question]), ended(np.concatenate([train.questions[i], evidence, train.evidence[i]])))), own.append(b)
        for b in range(min(a.sentence_rows, len(chosen))):
            sentence = random.choice(train.sents[chosen[b]])
            given = min(4, len(sentence) - 1)
            rows.append((np.concatenate([evidence, sentence[:given]]), ended(sentence[given:]))), own.append(b)
        texts = []
        for d in random.sample(documents, a.text_rows):
            i = random.choice(questions_of[d])
            texts.append((np.concatenate([passage, train.texts[d], asked(train, i)]), ended(train.evidence[i])))
        return [train.texts[d] for d in chosen], rows, own, texts

    test = [i for i in range(len(dev.doc)) if dev.test[i]]
    random.Random(1).shuffle(test)
    some = sorted({int(dev.doc[i]) for i in test[: a.questions * 4]})[: a.documents]
    place = {d: j for j, d in enumerate(some)}
    test = [i for i in test if int(dev.doc[i]) in place][: a.questions]
    others = {}  # of each test question another one about the same document: reading, or reciting?
    for i in test:
        mates = [j for j in range(len(dev.doc)) if dev.doc[j] == dev.doc[i] and j != i]
        others[i] = mates[i % len(mates)] if mates else i

    @torch.no_grad()
    def write_out(z, prompts, tokens=80):
        """Greedy continuations, as texts, behind z (B,K,D) or nothing; prompts are padded in front."""
        written = []
        for begin in range(0, len(prompts), a.together):
            chunk = prompts[begin : begin + a.together]
            size = max(map(len, chunk))
            ids = torch.tensor(np.stack([np.concatenate([np.full(size - len(one), end), one]) for one in chunk])).to(device)
            mask = torch.tensor(np.stack([np.concatenate([np.zeros(size - len(one), int), np.ones(len(one), int)]) for one in chunk])).to(device)
            embedded = embed[ids]
            if z is not None:
                head = embed[torch.from_numpy(passage).to(device)].expand(len(chunk), -1, -1)
                embedded = torch.cat([head, z[begin : begin + a.together].to(embedded.dtype), embedded], 1)
                mask = torch.cat([mask.new_ones(len(chunk), len(passage) + z.shape[1]), mask], 1)
            with arithmetic():
                new = lm.generate(inputs_embeds=embedded, attention_mask=mask, max_new_tokens=tokens, do_sample=False, eos_token_id=end, pad_token_id=end)
            written += tokenizer.batch_decode(new, skip_special_tokens=True)
        return written

    def share(written, **what):
        right = [any(normal(x) in normal(w) for x in dev.answers[i]) for w, i in zip(written, test, strict=True)]
        flags.write(json.dumps({**what, "right": [int(r) for r in right]}) + "\n"), flags.flush()
        return round(float(np.mean(right)), 3)

    @torch.no_grad()
    def find(z, label, **more):
        """R@1, R@5 and MRR of log p(question | z) among all of `some`."""
        lm.eval()
        began, scores = time.time(), np.zeros((len(test), len(some)), np.float32)
        rows = [(question, dev.questions[i]) for i in test]
        lengths = torch.tensor([len(dev.questions[i]) for i in test], device=device)
        owner = torch.repeat_interleave(torch.arange(len(test), device=device), lengths)
        for d in range(len(some)):
            losses = nll(z[d : d + 1].expand(len(rows), -1, -1), rows)
            scores[:, d] = -torch.zeros(len(test), device=device).index_add_(0, owner, losses).cpu().numpy()
        gold = np.array([place[int(dev.doc[i])] for i in test])
        rank = 1 + (scores > scores[np.arange(len(test)), gold][:, None]).sum(1)
        flags.write(json.dumps({"at": "find", "label": label, **more, "rank": rank.tolist()}) + "\n"), flags.flush()
        tell(at="find", label=label, **more, r1=round(float((rank == 1).mean()), 3), r5=round(float((rank <= 5).mean()), 3), mrr=round(float((1 / rank).mean()), 3), documents=len(some), n=len(test), seconds=round(time.time() - began, 1))
        lm.train()

    def measure(z, label, **more):
        """Answer in evidence of the right z, of the right z asked another question, of another's z; z of `some`, in order."""
        lm.eval()
        began, at = time.time(), torch.tensor([place[int(dev.doc[i])] for i in test], device=device)
        prompts = [asked(dev, i) for i in test]
        right = write_out(z[at], prompts)
        name = {"at": label, **more}
        found = {"z": share(right, of="z", **name), "z_other_question": share(write_out(z[at], [asked(dev, others[i]) for i in test]), of="z_other_question", **name), "other_z": share(write_out(z[at.roll(7)], prompts), of="other_z", **name)}
        tell(**{"at": label, **more, **found, "n": len(test), "seconds": round(time.time() - began, 1), "example": right[0][:120]})
        lm.train()

    def measure_text(**more):
        lm.eval()
        began = time.time()
        written = write_out(None, [np.concatenate([passage, dev.texts[int(dev.doc[i])], asked(dev, i)]) for i in test])
        tell(at="text", text=share(written, of="text", **more), n=len(test), **more, seconds=round(time.time() - began, 1))
        lm.train()

    @torch.no_grad()
    def low_rank(rank):
        """a (R,in) and b (out,R) of every layer, 2 b a being the best of that rank for what its weights have learned."""
        pairs = []
        for w, first in zip(weights, before, strict=True):
            u, scales, v = torch.svd_lowrank(w.detach() - first.to(w), q=rank + 8, niter=4)
            pairs.append((v[:, :rank].T.contiguous(), (u[:, :rank] * scales[:rank] / 2).contiguous()))
        return pairs

    def keep(name):
        pairs = low_rank(a.rank) if a.all and not isinstance(loras[0], Lora) else [(one.a.detach(), one.b.detach()) for one in loras]
        tensors = {f"{i}.{n}": one.to(torch.bfloat16).cpu().contiguous() for i, pair in enumerate(pairs) for n, one in zip("ab", pair, strict=True)}
        save_file(tensors, out / f"{name}.safetensors")
        save_file({"places": places.detach().to(torch.bfloat16).cpu()}, out / f"{name}-places.safetensors")

    def start_all():
        with torch.no_grad():
            return torch.cat([start([dev.texts[d] for d in some[b : b + 64]]) for b in range(0, len(some), 64)])

    def steps(seconds, optimiser, learning, label, every):
        spent, step, tokens, seen, due, recent = 0.0, 0, 0, 0, every, []
        while spent < seconds:
            began = time.time()
            rate = min(1.0, (step + 1) / 30) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent / seconds)))
            for group in optimiser.param_groups:
                group["lr"] = group["first"] * rate
            texts, rows, own, text_rows = step_rows()
            z = start(texts)[torch.tensor(own, device=device)]
            optimiser.zero_grad(set_to_none=True)
            of_z = nll(z, rows).mean()
            of_z.backward()
            of_text = nll(None, text_rows).mean()
            of_text.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimiser.step()
            recent.append((of_z.detach(), of_text.detach()))
            step, seen = step + 1, seen + len(rows) + len(text_rows)
            tokens += sum(len(g) + len(t) + a.k for g, t in rows) + sum(len(g) + len(t) for g, t in text_rows)
            if device.type == "cuda" and step % 5 == 0:
                torch.cuda.synchronize()
            spent += time.time() - began
            if step % 20 == 0:
                means = [round(float(torch.stack(one).mean()), 3) for one in zip(*recent[-20:], strict=True)]
                if step % 100 == 0 or step == 20 or device.type == "cpu":
                    tell(at=label, step=step, spent=round(spent, 1), rows=seen, tokens_per_s=round(tokens / spent), nll_z=means[0], nll_text=means[1])
            if spent >= due and spent < seconds - every / 2:
                due += every
                measure(start_all(), "start", step=step, rows=seen), measure_text(step=step, rows=seen)
        tell(at=label, step=step, rows=seen, tokens=tokens, ended=True)

    # 1. schooling
    if a.adapter:
        kept = load_file(f"{a.adapter}/adapter.safetensors")
        with torch.no_grad():
            for i, one in enumerate(loras):
                one.a.copy_(kept[f"{i}.a"]), one.b.copy_(kept[f"{i}.b"])
            places.copy_(load_file(f"{a.adapter}/adapter-places.safetensors")["places"])
    else:
        steps(a.school, optimiser, [*weights, places], "school", a.every)
        keep("adapter")
        measure(start_all(), "start", rank="all"), measure_text(rank="all")
    if a.all:  # how much of it survives at a rank, and after the low-rank part has learned on
        learned = [w.detach().clone() for w in weights]
        for rank in (a.rank, 96):
            with torch.no_grad():
                for w, first, (down, up) in zip(weights, before, low_rank(rank), strict=True):
                    w.copy_(first.to(w) + 2 * up @ down)
            measure(start_all(), "start", rank=rank), measure_text(rank=rank)
            with torch.no_grad():
                for w, one in zip(weights, learned, strict=True):
                    w.copy_(one)
        pairs = low_rank(a.rank)
        with torch.no_grad():
            for w, first in zip(weights, before, strict=True):
                w.copy_(first.to(w))
        for j, ((part, name), (down, up)) in enumerate(zip(holders, pairs, strict=True)):
            loras[j].weight.requires_grad_(False)
            one = Lora(loras[j], a.rank)
            with torch.no_grad():
                one.a.copy_(down), one.b.copy_(up)
            setattr(part, name, one)
            loras[j] = one
        weights = [w for one in loras for w in (one.a, one.b)]
        del optimiser, learned
        optimiser = torch.optim.AdamW([{"params": weights, "first": a.mend_lr}, {"params": [places], "first": a.connector_lr / 2}], betas=(0.9, 0.98), weight_decay=0.0)
        steps(a.mend, optimiser, [*weights, places], "mend", 1e9)
        keep("adapter")
    if device.type == "cuda":
        tell(peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2))

    # 2. writing unseen documents from their text alone, nothing else moves
    for w in [*weights, places]:
        w.requires_grad_(False)
    for write_lr in a.write_lr:
        z = start_all()
        first, second, spent, step = torch.zeros_like(z), torch.zeros_like(z), 0.0, 0
        measure(z, "written", lr=write_lr, step=0), (find(z, "written", lr=write_lr, step=0), measure_text(step="after")) if not a.adapter else None
        while spent < a.write and step < 60 and time.time() - born < a.until:
            began, step = time.time(), step + 1
            for b in range(0, len(some), 128):
                chunk = list(range(b, min(b + 128, len(some))))
                learning = z[chunk].clone().requires_grad_(True)
                rows = []
                for j in chunk:
                    sentence = random.choice(dev.sents[some[j]])
                    given = min(4, len(sentence) - 1)
                    rows.append((np.concatenate([evidence, sentence[:given]]), ended(sentence[given:])))
                (nll(learning, rows).mean() * len(chunk)).backward()
                g = learning.grad
                first[chunk], second[chunk] = 0.9 * first[chunk] + 0.1 * g, 0.98 * second[chunk] + 0.02 * g * g
                z[chunk] -= write_lr * scale * (first[chunk] / (1 - 0.9**step)) / ((second[chunk] / (1 - 0.98**step)).sqrt() + 1e-8)
            spent += time.time() - began
            if step in (2, 5, 10, 20, 40):
                measure(z, "written", lr=write_lr, step=step, seconds_per_document=round(spent / len(some), 4))
        measure(z, "written", lr=write_lr, step=step, seconds_per_document=round(spent / len(some), 4)), find(z, "written", lr=write_lr, step=step)
    tell(done=True)


if __name__ == "__main__":
    main()
