"""The red team: what tempts a model to break each house rule, and how its answers are counted.

    asked = plan(rules, mutations=("plain", "role_play"), seeds_per_rule=2)
    asked.prompts                          # attacks, benign twins, counterfactual pairs
    attack_rate([("PROM-01/01", "plain", False), …])

``seeds`` reads what tempts (``seeds/*.yaml``, or a firm's own file), ``mutations`` says it in other
ways, ``plan`` puts it together, ``counting`` counts what came of it, by seed. Benign twins are read
for refusals (``replies``), counterfactual pairs for differences (``counterfactual``).
"""
