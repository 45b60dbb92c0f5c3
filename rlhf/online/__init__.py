"""PPO and RLOO: learning from a reward on the model's own answers."""
