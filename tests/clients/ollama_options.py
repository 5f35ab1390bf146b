# SPDX-License-Identifier: Apache-2.0
"""Ollama's own client, with the options of a preset in each request: ollama_options.py OLLAMA_URL O3_URL MODEL"""

import sys

import ollama
import requests

ollama_url, o3_url, model = sys.argv[1:]

reply = requests.get(f"{o3_url}/api/v1/preset", params={"model": model, "name": "balanced"}, timeout=10)
reply.raise_for_status()
preset = reply.json()
answer = ollama.Client(host=ollama_url).chat(
    model, [{"role": "user", "content": "Why is the sky blue?"}],
    options={"num_ctx": preset["num_ctx"], "num_batch": preset["batch"], "num_predict": 16})
print(answer.message.content)
