# A chat. The whole conversation is sent each turn; what was sent before comes from the cache.
import sys

import reprise


def chat(client):
    messages = [{"role": "system", "content": "You are brief."}]
    print("> ", end="", flush=True)
    for question in sys.stdin:
        messages.append({"role": "user", "content": question.strip()})
        answer = client.chat(messages)
        for chunk in answer:
            print(chunk.text, end="", flush=True)
        cached, prompt = answer.summary.cached_tokens.total, answer.summary.prompt_tokens
        print(f"\n[{cached} of {prompt} tokens were cached]\n> ", end="", flush=True)
        messages.append({"role": "assistant", "content": answer.text})


address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
try:
    chat(reprise.Client(address, timeout=600))
except reprise.RepriseError as error:
    sys.exit(f"{address}: {error}")
