"""Engines that sample for GRPO: this process, or a vLLM server that gets the weights before every step."""
