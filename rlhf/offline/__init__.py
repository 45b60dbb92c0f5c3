"""DPO and KTO: learning from preferences and verdicts that were given before."""
