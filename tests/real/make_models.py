# SPDX-License-Identifier: Apache-2.0
"""Write tiny models with made-up weights, so that a real Ollama can be tested without downloading anything.

    make_models.py FOLDER

writes o3-tiny.gguf (llama architecture, about 5 million parameters, f16) and o3-embed.gguf (bert architecture), and a
Modelfile beside each for `ollama create`. Needs the PyPI packages gguf and numpy.
"""

import pathlib
import sys

import gguf
import numpy as np

LAYERS, HEADS, KV_HEADS, WIDTH, FORWARD, CONTEXT = 4, 4, 2, 256, 768, 8192
SEED = 20


def words(n):
    """n made-up words: the vocabulary needs no meaning, only distinct pieces that cover plain text."""
    vowels, consonants = "aeiou", "bcdfghjklmnprstvwz"
    syllables = [c + v for c in consonants for v in vowels]
    out = []
    for a in syllables:
        for b in syllables:
            out.append("\u2581" + a + b)
            if len(out) == n:
                return out
    raise ValueError("too few syllables")


def llama_vocabulary():
    """(piece, score, type) in the order of a SentencePiece model: control tokens, bytes, characters, words."""
    normal, unknown, control, byte = 1, 2, 3, 6
    rows = [("<unk>", 0.0, unknown), ("<s>", 0.0, control), ("</s>", 0.0, control)]
    rows += [(f"<0x{b:02X}>", 0.0, byte) for b in range(256)]
    rows += [("\u2581", -1000.0, normal)] + [(chr(c), -1000.0, normal) for c in range(33, 127)]
    rows += [(w, -float(i), normal) for i, w in enumerate(words(4096 - len(rows)))]
    return rows


def write_llama(path):
    rng = np.random.default_rng(SEED)
    rows = llama_vocabulary()
    first_word = next(i for i, r in enumerate(rows) if len(r[0]) > 2 and r[0][0] == "\u2581")

    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name("o3-tiny")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(WIDTH)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FORWARD)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_rope_dimension_count(WIDTH // HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(len(rows))
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_tokenizer_model("llama")
    w.add_token_list([r[0] for r in rows])
    w.add_token_scores([r[1] for r in rows])
    w.add_token_types([r[2] for r in rows])
    w.add_unk_token_id(0)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(True)

    def noise(*shape, scale):
        return (rng.standard_normal(shape) * scale).astype(np.float16)

    embedding = rng.standard_normal((len(rows), WIDTH))
    # The answer to a word is the next word of the list: greedy decoding walks one long cycle. With plain random weights it
    # often sticks to one token, and Ollama aborts a stream of more than 30 equal tokens without its last object. Control
    # and byte tokens get zero rows: never chosen, so no answer ends early and all text is valid.
    output = np.zeros_like(embedding)
    output[first_word + 1 :] = embedding[first_word:-1]
    output[first_word] = embedding[-1]
    # Anything before the words (bytes, characters) must lead into the cycle too; a shared small bias does that.
    output[first_word:] += 0.05 * rng.standard_normal((len(rows) - first_word, WIDTH))

    w.add_tensor("token_embd.weight", embedding.astype(np.float16))
    w.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    w.add_tensor("output.weight", output.astype(np.float16))
    kv_width = WIDTH // HEADS * KV_HEADS
    small = 0.2 / WIDTH**0.5  # the layers cost time like real ones but hardly move the residual stream
    for i in range(LAYERS):
        w.add_tensor(f"blk.{i}.attn_norm.weight", np.ones(WIDTH, np.float32))
        w.add_tensor(f"blk.{i}.attn_q.weight", noise(WIDTH, WIDTH, scale=small))
        w.add_tensor(f"blk.{i}.attn_k.weight", noise(kv_width, WIDTH, scale=small))
        w.add_tensor(f"blk.{i}.attn_v.weight", noise(kv_width, WIDTH, scale=small))
        w.add_tensor(f"blk.{i}.attn_output.weight", noise(WIDTH, WIDTH, scale=small))
        w.add_tensor(f"blk.{i}.ffn_norm.weight", np.ones(WIDTH, np.float32))
        w.add_tensor(f"blk.{i}.ffn_gate.weight", noise(FORWARD, WIDTH, scale=small))
        w.add_tensor(f"blk.{i}.ffn_up.weight", noise(FORWARD, WIDTH, scale=small))
        w.add_tensor(f"blk.{i}.ffn_down.weight", noise(WIDTH, FORWARD, scale=small))
    finish(w)


def write_bert(path):
    rng = np.random.default_rng(SEED + 1)
    layers, width, forward, context = 2, 64, 128, 512
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += ["\u2581" + chr(c) for c in range(33, 127)] + [chr(c) for c in range(33, 127)] + words(300)

    w = gguf.GGUFWriter(str(path), "bert")
    w.add_name("o3-embed")
    w.add_context_length(context)
    w.add_embedding_length(width)
    w.add_block_count(layers)
    w.add_feed_forward_length(forward)
    w.add_head_count(4)
    w.add_layer_norm_eps(1e-12)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    w.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    w.add_tokenizer_model("bert")
    w.add_token_list(pieces)
    w.add_token_types([3] * 5 + [1] * (len(pieces) - 5))
    w.add_token_type_count(2)
    w.add_unk_token_id(1)
    w.add_bos_token_id(2)
    w.add_sep_token_id(3)
    w.add_eos_token_id(3)
    w.add_pad_token_id(0)
    w.add_mask_token_id(4)

    def matrix(name, rows, cols, dtype=np.float16):
        w.add_tensor(name, (rng.standard_normal((rows, cols)) / cols**0.5).astype(dtype))

    def norm(name):
        w.add_tensor(name + ".weight", np.ones(width, np.float32))
        w.add_tensor(name + ".bias", np.zeros(width, np.float32))

    matrix("token_embd.weight", len(pieces), width)
    matrix("position_embd.weight", context, width, np.float32)
    matrix("token_types.weight", 2, width, np.float32)
    norm("token_embd_norm")
    for i in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{i}.{name}.weight", width, width)
            w.add_tensor(f"blk.{i}.{name}.bias", np.zeros(width, np.float32))
        norm(f"blk.{i}.attn_output_norm")
        matrix(f"blk.{i}.ffn_up.weight", forward, width)
        w.add_tensor(f"blk.{i}.ffn_up.bias", np.zeros(forward, np.float32))
        matrix(f"blk.{i}.ffn_down.weight", width, forward)
        w.add_tensor(f"blk.{i}.ffn_down.bias", np.zeros(width, np.float32))
        norm(f"blk.{i}.layer_output_norm")
    finish(w)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in (("o3-tiny", write_llama), ("o3-embed", write_bert)):
        write(folder / f"{name}.gguf")
        (folder / f"{name}.Modelfile").write_text(f"FROM ./{name}.gguf\n")
        print(folder / f"{name}.gguf")


if __name__ == "__main__":
    main()
