"""Small models that are not ours: a Llama, a folder of its weights with a tokenizer, somebody's module."""

import json
from pathlib import Path

import torch
from pi_train.export import save_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from train.tiny_run import TinyRun

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 300,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "attention_dropout": 0.5,
}


def config_file(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(LLAMA | changes))
    return folder / "config.json"


def bpe(vocab: int = 300) -> str:
    """A tokenizer.json, trained on a line of text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        ["12 plus 13 is 25, the quick brown fox jumps over the lazy dog"] * 4, trainer
    )
    return tokenizer.to_str()


def pretrained(folder: Path) -> Path:
    """A folder as `save_pretrained` writes it, with a tokenizer beside the weights."""
    run = TinyRun(folder / "run", model=str(config_file(folder / "config")))
    save_model(run.spec, run.checkpoint, folder / "model")
    (folder / "model" / "tokenizer.json").write_text(bpe())
    return folder / "model"


class Bag(torch.nn.Module):
    """The mean of what was seen so far, through one hidden layer; the head is frozen."""

    def __init__(self, width: int):
        super().__init__()
        self.into = torch.nn.Embedding(256, width)
        self.through = torch.nn.Linear(width, width)
        self.head = torch.nn.Linear(width, 256, bias=False).requires_grad_(False)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.into(tokens)
        counts = torch.arange(1, x.shape[1] + 1)[:, None]
        hidden = self.drop(torch.tanh(self.through(x.cumsum(1) / counts)))
        return self.head(hidden), hidden


def bag(width: int) -> torch.nn.Module:
    return Bag(width)


def no_module() -> str:
    return "nothing"


def install(folder: Path, *factories: str) -> None:
    """What pip leaves of a package that declares factories: a folder for sys.path."""
    info = folder / "bags-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bags\nVersion: 1.0\n")
    names = "".join(f"{f.split(':')[1]} = {f}\n" for f in factories)
    (info / "entry_points.txt").write_text(f"[pi_protocol.models]\n{names}")
