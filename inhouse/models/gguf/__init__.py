"""A GGUF, llama.cpp's one file, becomes a folder that transformers loads and trains."""
