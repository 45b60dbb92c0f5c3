"""What sft, reward and rlhf train with: data, options, plan, memory, order, batches."""
