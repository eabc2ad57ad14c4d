"""Writes MODEL_FOLDER/model.gguf, the same weights for llama.cpp: to_gguf.py MODEL_FOLDER.

For GPT-2 and Qwen2 folders of `reprise bench engine`. Matrices keep their type; the rest is f32.
There is no tokenizer in it: peers are given token ids.
"""

import json
import os
import sys

import gguf
import torch
from safetensors import safe_open

ARCHITECTURES = {"gpt2": gguf.MODEL_ARCH.GPT2, "qwen2": gguf.MODEL_ARCH.QWEN2}
# GPT-2 stores these as inputs x outputs.
TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def add_gpt2(writer, config):
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_feed_forward_length(config["n_inner"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    return config["n_layer"]


def add_qwen2(writer, config):
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    return config["num_hidden_layers"]


def add_tensor(writer, name, tensor):
    if tensor.ndim > 1 and tensor.dtype == torch.bfloat16:
        writer.add_tensor(name, tensor.contiguous().view(torch.uint8).numpy(),
                          raw_dtype=gguf.GGMLQuantizationType.BF16)
    else:
        writer.add_tensor(name, tensor.float().contiguous().numpy())


def main(folder):
    with open(f"{folder}/config.json") as file:
        config = json.load(file)
    family = config["model_type"]
    architecture = ARCHITECTURES[family]
    path = f"{folder}/model.gguf"
    writer = gguf.GGUFWriter(path + ".new", gguf.MODEL_ARCH_NAMES[architecture])
    layers = (add_gpt2 if family == "gpt2" else add_qwen2)(writer, config)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    bf16 = config["torch_dtype"] == "bfloat16"
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16 if bf16 else gguf.LlamaFileType.ALL_F32)
    names = gguf.get_tensor_name_map(architecture, layers)
    with safe_open(f"{folder}/model.safetensors", "pt") as tensors:
        for name in tensors.keys():
            tensor = tensors.get_tensor(name)
            if family == "gpt2" and name.endswith(TRANSPOSED):
                tensor = tensor.T
            add_tensor(writer, names.get_name(name, (".weight", ".bias")), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(path + ".new", path)  # a file of that name is complete


main(sys.argv[1])
