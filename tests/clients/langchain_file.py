# SPDX-License-Identifier: Apache-2.0
"""LangChain, with a preset from a file that the sidecar keeps true (publish.file, o3_results/defaults/MODEL.yaml, or the mounted
ConfigMap): langchain_file.py OLLAMA_URL FILE"""

import sys

import yaml
from langchain_ollama import ChatOllama

ollama_url, path = sys.argv[1:]

# Read it again for each conversation: it is replaced as a whole when something better is known.
with open(path, encoding="utf-8") as f:
    document = next(yaml.safe_load_all(f))  # one document a model
preset = document["presets"]["balanced"]
llm = ChatOllama(base_url=ollama_url, model=document["model"], num_ctx=preset["num_ctx"], num_predict=16)
print(llm.invoke("Why is the sky blue?").content)
