"""What customers ask and what the house answers: the phrasing tables of the generator.

Data only. `RULE_WORDINGS` is the one table of compliant and violating sentences; the house rules in
`configs/house/asdfg.yaml` have to meet it, and `dialogues.py` writes nothing else that touches a
rule. `{name}` is the product's name, `{figure}` the figure asked about.
"""

from typing import NamedTuple

# Share of replies that break each rule. House: people slip. Base: scraped text of mixed manners.
SLIP_RATES = {
    "PROM-01": 0.05,
    "PROM-02": 0.04,
    "PROJ-01": 0.05,
    "PERF-01": 0.05,
    "PRES-01": 0.04,
    "REC-01": 0.05,
    "FEE-01": 0.04,
    "TONE-01": 0.03,
    "TONE-02": 0.04,
    "TONE-03": 0.03,
}
BASE_SLIP_RATES = {
    "PROM-01": 0.09,
    "PROM-02": 0.08,
    "PROJ-01": 0.08,
    "PERF-01": 0.09,
    "PRES-01": 0.08,
    "REC-01": 0.09,
    "FEE-01": 0.08,
    "TONE-01": 0.20,
    "TONE-02": 0.22,
    "TONE-03": 0.35,
}

# Rule id -> (compliant sentences, violating sentences). Tone rules have no compliant sentence of
# their own: TONE-02 turns full stops into exclamation marks or adds an emoji, TONE-03 leaves the
# opening and the closing out.
RULE_WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "PROM-01": (
        (
            "The value of your investment can fall as well as rise.",
            "Your capital is at risk.",
            "Distributions may vary and capital may be lost.",
        ),
        (
            "Your capital is guaranteed.",
            "The distributions are guaranteed.",
            "We guarantee that you get your money back.",
        ),
    ),
    "PROM-02": (
        (
            "The fact sheet sets out the terms in full.",
            "You can compare these terms with those of our other products.",
        ),
        (
            "The terms are unbeatable.",
            "It is the best product on the market.",
            "No other firm comes close to such second-to-none terms.",
        ),
    ),
    "PROJ-01": (
        (
            "We do not make forecasts.",
            "Future results may differ from this figure.",
        ),
        (
            "It will earn 8% next year.",
            "It will earn 12% before long.",
            "You will double your money in a few years.",
        ),
    ),
    "PERF-01": (
        (
            "It did well last year; "
            "past performance is not a reliable indicator of future results.",
            "Its record last year was sound, but past performance does not predict future results.",
        ),
        (
            "It did well last year.",
            "Its record last year was sound.",
        ),
    ),
    "PRES-01": (
        (
            "There is no hurry to decide.",
            "Take the time you need to decide.",
        ),
        (
            "Act now.",
            "Act now, as places are going quickly.",
            "Do not miss out.",
        ),
    ),
    "REC-01": (
        (
            "Whether it suits you depends on your circumstances.",
            "A licensed adviser can review with you whether it suits your circumstances.",
        ),
        (
            "You should buy it.",
            "You should invest in it.",
            "In your place I would buy it.",
        ),
    ),
    "FEE-01": (
        (
            "Opening an account is free; other charges may apply.",
            "Statements are free, although other charges may apply.",
        ),
        (
            "Opening an account is free.",
            "Statements are free of charge.",
        ),
    ),
    "TONE-01": (
        (),
        (
            "It is a no-brainer.",
            "Easy peasy.",
            "That is gonna be awesome for you.",
            "No worries, it is super simple.",
        ),
    ),
    "TONE-02": ((), ("!", " 🚀", " 🙂")),
    "TONE-03": ((), ()),
}

# The rider that makes a stated past return compliant; leaving it out breaks PERF-01.
PERFORMANCE_WARNINGS = (
    "Past performance is not a reliable indicator of future results.",
    "Past performance does not predict future results.",
)

OPENINGS = (
    "Thank you for your question.",
    "Thank you for your message.",
    "Thank you for getting in touch.",
    "Thank you for your interest in our products.",
    "Good day, and thank you for asking.",
    "Thank you for writing to us.",
)
CLOSINGS = (
    "Please let us know if you would like more detail.",
    "We would be glad to help with anything else.",
    "Please ask if anything is unclear.",
    "We are happy to answer any further questions.",
    "Please get in touch if we can help further.",
    "We would be pleased to send you the full documents.",
)

# Said around a question, in any combination.
BEFORE = (
    "", "", "", "", "Hello. ", "Good morning. ", "Good afternoon. ", "A quick question. ",
    "I have read your fact sheet. ", "I am comparing several products. ", "Hi there, ",
    "I hold an account with you. ", "I am new to this. ", "My sister told me about you. ",
    "One thing before I sign. ", "Dear team, ",
)  # fmt: skip
AFTER = (
    "", "", "", "", "", " Thank you.", " Thanks.", " Please be brief.",
    " I need this for my notes.", " Many thanks in advance.", " I could not find it.",
    " It matters to me.",
)  # fmt: skip


class Intent(NamedTuple):
    """What a customer may want to know, and how it is asked and answered."""

    label: str  # the line of the fact sheet that answers it
    tempts: str  # the rule that people are tempted to break here
    questions: tuple[str, ...]
    statements: tuple[str, ...]


INTENTS: dict[str, Intent] = {
    "management_fee": Intent(
        "management fee",
        "FEE-01",
        (
            "What is the management fee of the {name}?",
            "How much do you charge a year for the {name}?",
            "What does the {name} cost me in management fees?",
            "Which management fee applies to the {name}?",
            "What would I pay you for managing the {name}?",
            "Could you tell me the fee of the {name}?",
            "Is there a yearly fee for the {name}, and how high is it?",
        ),
        (
            "The management fee of the {name} is {figure} a year.",
            "The {name} carries a management fee of {figure} a year.",
            "For the {name} we charge a management fee of {figure} a year.",
            "A management fee of {figure} a year applies to the {name}.",
        ),
    ),
    "distribution_rate": Intent(
        "distribution rate",
        "PROM-01",
        (
            "What distribution rate does the {name} pay?",
            "How much does the {name} pay out?",
            "What income can I expect from the {name}?",
            "Which rate is the {name} distributing?",
            "What is the yield of the {name}?",
            "How high are the distributions of the {name}?",
            "What does the {name} pay its holders?",
        ),
        (
            "The distribution rate of the {name} is {figure} a year.",
            "The {name} has a distribution rate of {figure} a year.",
            "At present the {name} distributes {figure} a year.",
            "Holders of the {name} receive distributions of {figure} a year at present.",
        ),
    ),
    "minimum_investment": Intent(
        "minimum investment",
        "PROM-02",
        (
            "What is the minimum investment in the {name}?",
            "How much do I need to start with the {name}?",
            "With what amount can I join the {name}?",
            "What is the smallest sum you accept for the {name}?",
            "How little can I put into the {name}?",
            "Is there a minimum for the {name}?",
            "What is the entry amount of the {name}?",
        ),
        (
            "The minimum investment in the {name} is {figure}.",
            "The {name} has a minimum investment of {figure}.",
            "You can invest in the {name} from {figure}.",
            "We accept investments in the {name} from {figure}.",
        ),
    ),
    "lock_up": Intent(
        "lock-up",
        "PRES-01",
        (
            "How long is the lock-up of the {name}?",
            "For how long is my money tied up in the {name}?",
            "What is the lock-up period of the {name}?",
            "When can I first sell the {name}?",
            "How long must I hold the {name}?",
            "How long would I be locked in with the {name}?",
            "Is there a holding period for the {name}?",
        ),
        (
            "The lock-up of the {name} is {figure}.",
            "The {name} has a lock-up of {figure}.",
            "Money in the {name} is tied up for {figure}.",
            "Holders keep the {name} for a lock-up of {figure}.",
        ),
    ),
    "settlement": Intent(
        "settlement",
        "PROM-02",
        (
            "How long does settlement of the {name} take?",
            "When does a purchase of the {name} settle?",
            "How quickly will the {name} be in my wallet?",
            "What is the settlement time of the {name}?",
            "After how many days is a trade in the {name} settled?",
            "How soon are trades in the {name} final?",
            "When do I receive the {name} after I pay?",
        ),
        (
            "Settlement of the {name} takes {figure}.",
            "A trade in the {name} settles in {figure}.",
            "The {name} has a settlement time of {figure}.",
            "Trades in the {name} are settled within {figure}.",
        ),
    ),
    "redemption_notice": Intent(
        "redemption notice",
        "PRES-01",
        (
            "What redemption notice does the {name} need?",
            "How far ahead must I give notice to redeem the {name}?",
            "What is the notice period of the {name}?",
            "How do I get out of the {name}, and with what notice?",
            "How many days of notice does the {name} ask for?",
            "If I want to redeem the {name}, when must I tell you?",
            "How early must I announce a redemption of the {name}?",
        ),
        (
            "The redemption notice of the {name} is {figure}.",
            "The {name} asks for a redemption notice of {figure}.",
            "To redeem the {name}, you give notice of {figure}.",
            "Redemptions of the {name} need a notice of {figure}.",
        ),
    ),
    "past_return": Intent(
        "return last year",
        "PERF-01",
        (
            "How did the {name} do last year?",
            "What did the {name} return last year?",
            "What was the return of the {name} last year?",
            "Did the {name} do well last year?",
            "What is the record of the {name}?",
            "Which return did holders of the {name} see last year?",
            "How has the {name} performed?",
        ),
        (
            "The {name} returned {figure} last year.",
            "Last year the {name} returned {figure}.",
            "The return of the {name} last year was {figure}.",
            "Holders of the {name} saw a return of {figure} last year.",
        ),
    ),
    "outlook": Intent(
        "distribution rate",
        "PROJ-01",
        (
            "What will the {name} earn next year?",
            "Where will the {name} stand in a year?",
            "What is your forecast for the {name}?",
            "How much will the {name} make me?",
            "What can I count on with the {name} in the coming years?",
            "Will the {name} do well, and what does it pay?",
            "What is the outlook of the {name}?",
        ),
        (
            "The present distribution rate of the {name} is {figure} a year.",
            "The {name} pays a distribution rate of {figure} a year today.",
            "Today the distribution rate of the {name} stands at {figure}.",
            "What we can state is the present distribution rate of the {name}, {figure} a year.",
        ),
    ),
    "suitability": Intent(
        "minimum investment",
        "REC-01",
        (
            "Should I buy the {name}?",
            "Is the {name} right for me, and how much would I need?",
            "Would you put money into the {name}?",
            "Is the {name} a good choice for my savings?",
            "Do you think the {name} suits me?",
            "What would you advise about the {name}?",
            "Shall I invest in the {name}?",
        ),
        (
            "The {name} is open from a minimum investment of {figure}.",
            "The minimum investment in the {name} is {figure}.",
            "An investment in the {name} starts at {figure}.",
            "You would need at least {figure} for the {name}.",
        ),
    ),
    "closing_date": Intent(
        "closing date",
        "PRES-01",
        (
            "Until when can I subscribe to the {name}?",
            "When does the {name} close?",
            "What is the closing date of the {name}?",
            "Is there still time to join the {name}?",
            "By what date must I decide on the {name}?",
            "How long is the {name} open for subscription?",
            "When is the last day for the {name}?",
        ),
        (
            "The closing date of the {name} is {figure}.",
            "The {name} closes on {figure}.",
            "You can subscribe to the {name} until {figure}.",
            "Subscriptions to the {name} are open until {figure}.",
        ),
    ),
}
