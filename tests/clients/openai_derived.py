# SPDX-License-Identifier: Apache-2.0
"""An OpenAI client and a model derived with a preset, because /v1 takes no options: openai_derived.py OLLAMA_URL DERIVED"""

import sys

from openai import OpenAI

ollama_url, derived = sys.argv[1:]

client = OpenAI(base_url=f"{ollama_url}/v1", api_key="not asked for")
answer = client.chat.completions.create(model=derived, messages=[{"role": "user", "content": "Why is the sky blue?"}], max_tokens=16)
print(answer.choices[0].message.content)
