"""ProdLDA against scikit-learn's latent Dirichlet allocation, on a table of word counts.

    python benchmarks/topics.py associated_press_counts.npz [EPOCHS]

The file has the counts as triplets row, col, count, and their shape. Words in fewer than ten
documents are left out. Perplexity is exp(-log p(x) / words), over test documents, given how many
words they have and without the multinomial coefficient, which is the same for all models. Log p(x)
is estimated by importance sampling from each model's own guide, for LDA at the posterior mean of
its topics. Coherence is the normalised pointwise mutual information of the pairs of the ten most
probable words of a topic, over all documents: 1 if they always occur together, 0 if independently.
"""

import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import LatentDirichletAllocation
from torch import Tensor
from torch.distributions import Dirichlet

from pyrovae import InferenceSpec, Splits, build, fit, log_evidence
from pyrovae.data import from_arrays
from pyrovae.evaluation.importance import bounds
from pyrovae.specs.program import ProgramSpec

TOPICS, MINIMUM, TOP, SAMPLES = 50, 10, 10, 1000
MODEL = Path(__file__).parent.parent / "models" / "prodlda.py"


def read(path: str) -> np.ndarray:
    """Counts ``(documents, words)``."""
    with np.load(path) as file:
        counts = np.zeros(tuple(file["shape"]), np.int32)
        counts[file["row"], file["col"]] = file["count"]
        return counts[:, (counts > 0).sum(0) >= MINIMUM]


def unigram(train: Tensor, test: Tensor) -> float:
    """Perplexity of words drawn independently."""
    share = (train.sum(0) + 1) / (train.sum() + train.shape[1])
    return perplexity((test * share.log()).sum(-1), test)


def perplexity(log_prob: Tensor, x: Tensor) -> float:
    return (-log_prob.sum() / x.sum()).exp().item()


def coherence(topics: Tensor, counts: np.ndarray) -> float:
    """Mean over topics ``(topics, words)``, the larger the more probable."""
    present = counts > 0
    scores = []
    for topic in topics.topk(TOP).indices.tolist():
        for a, b in combinations(topic, 2):
            both = (present[:, a] & present[:, b]).mean()
            apart = present[:, a].mean() * present[:, b].mean()
            scores.append(-1.0 if both == 0 else np.log(both / apart) / -np.log(both))
    return float(np.mean(scores))


def lda(train: Tensor, test: Tensor, concentration: float) -> tuple[float, float, Tensor]:
    """Perplexity, the one that scikit-learn reports, and topics."""
    model = LatentDirichletAllocation(
        TOPICS, doc_topic_prior=concentration, max_iter=100, random_state=0
    ).fit(train.numpy())
    topics = torch.from_numpy(model.components_)
    prior = torch.full((TOPICS,), concentration, dtype=torch.float64)
    total = test.sum(-1, keepdim=True) + prior.sum()
    posterior = torch.from_numpy(model.transform(test.numpy())) * total
    torch.manual_seed(0)
    log_prob = [
        evidence(x, topics / topics.sum(-1, keepdim=True), Dirichlet(prior), Dirichlet(row))
        for x, row in zip(test, posterior, strict=True)
    ]
    return perplexity(torch.cat(log_prob), test), model.perplexity(test.numpy()), topics


def evidence(x: Tensor, topics: Tensor, prior: Dirichlet, posterior: Dirichlet) -> Tensor:
    """Log p(x) of one document without its coefficient, ``(1,)``."""
    shares = posterior.sample((SAMPLES,)).clamp(min=1e-300)
    words = x.nonzero().flatten()
    log_likelihood = (shares @ topics[:, words]).log() @ x[words]
    log_weight = log_likelihood + prior.log_prob(shares) - posterior.log_prob(shares)
    return bounds(log_weight[:, None]).log_prob


def prodlda(data: Splits, test: Tensor, epochs: int) -> tuple[float, Tensor]:
    """Perplexity and topics."""
    program = ProgramSpec(file=MODEL, arguments={"words": test.shape[1], "topics": TOPICS})
    model = build(program, "svi", data)
    inference = InferenceSpec.model_validate({
        "epochs": epochs,
        "batch_size": 200,
        "optimiser": {"kind": "adam", "learning_rate": 2e-3},
        "early_stopping": {"patience": epochs},
    })  # fmt: skip
    history = fit(model, data, inference)
    best = max((r for r in history if r.split == "validation"), key=lambda r: r.elbo)
    print(f"ProdLDA: best epoch {best.epoch} of {epochs}")
    coefficient = torch.lgamma(test.sum(-1) + 1) - torch.lgamma(test + 1).sum(-1)
    found = log_evidence(model, model.contract.apply(data).test, SAMPLES)
    with torch.no_grad():  # the words of a document of one topic alone
        topics = model.program.eval().decoder(torch.eye(TOPICS)) + model.program.frequency
    return perplexity(found.log_prob - coefficient, test), topics


def main() -> None:
    counts = read(sys.argv[1])
    epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    data = from_arrays(counts, name="counts")
    train, _, test = (part.batch(torch.arange(len(part))).x.double() for part in data)
    print(f"{len(train)} and {len(test)} documents, {counts.shape[1]} words")
    print(f"unigrams: perplexity {unigram(train, test):.0f}", flush=True)
    own, topics = prodlda(data, test, epochs)
    print(f"ProdLDA: perplexity {own:.0f}, coherence {coherence(topics, counts):.3f}", flush=True)
    for concentration in (0.02, 0.1, 1.0):
        own, theirs, topics = lda(train, test, concentration)
        print(
            f"LDA, prior {concentration}: perplexity {own:.0f} (scikit-learn's {theirs:.0f}), "
            f"coherence {coherence(topics, counts):.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
