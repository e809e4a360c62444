"""What each experiment is for, in the order of the pages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """An experiment.

    Attributes:
        group: of its variants.
        title: of its part of the page.
        text: what is varied, and what was thought of it before.
        timed: whether variants differ in what a token costs by so much that they are compared at equal seconds too.
    """

    group: str
    title: str
    text: str
    timed: bool = False


QUESTIONS = (
    Question("noise", "What a difference means", "The baseline once more with other seeds: first weights, order of "
             "samples. What this shows is noise, whatever its interval says."),
    Question("learning rate", "Learning rate", "`lr`, all else equal."),
    Question("unroll", "Unroll length", "`tttLength`: unrolled steps in training, where the engine drafts three. More "
             "of them cost seconds and give rows of later steps.", timed=True),
    Question("step weights", "Weights of the steps", "`stepWeightDecay`: the weight of each further step's loss. "
             "0.8 in the baseline, by default, and in Aurora."),
    Question("loss", "Loss", "Forward KL against reverse KL, total variation (1 minus the acceptance Σ min(p, q)), the "
             "logarithm of the acceptance, and mixtures; *adaptive* weighs forward KL by exp(-3 acceptance) and total "
             "variation by the rest; *sharpened* learns from the target at temperature 0.5; *rejected* adds minus "
             "log(1 - q(d)) of a proposal d that would be rejected, with that weight; *hardness* weighs a row by (1 - "
             "acceptance) to that power; *survival* weighs a row by how likely a verify cycle gets there. All are "
             "written plainly, so that their seconds say nothing."),
    Question("head", "Head trained or frozen", "A new draft's head is a copy of the target's rows.", timed=True),
    Question("initialisation", "First weights", "The baseline borrows the target's last layer, norms and head."),
    Question("vocabulary", "Draft vocabulary", "A quarter and four times of the baseline's tokens, chosen by what the "
             "target generated for the training prompts.", timed=True),
    Question("optimizer", "Optimizer", "Muon for the layer's matrices (torch.optim.Muon, updates scaled to AdamW's "
             "size), AdamW for the rest.", timed=True),
    Question("betas", "Decay rates of AdamW's moments", "`betas`; 0.9 and 0.95 in the baseline."),
    Question("schedule", "Schedule", "`lrDecayStyle`, `warmupSteps`. A cosine needs to know when training ends, which "
             "online training does not."),
    Question("gradient norm", "Clipping", "`maxGradNorm`; 1.0 in the baseline."),
    Question("weight decay", "Weight decay", "`weightDecay`; none in the baseline."),
    Question("batch size", "Batch size", "`microBatch`, at as many tokens: fewer and larger steps, or more and "
             "smaller ones."),
    Question("average of weights", "Averaged weights", "What is measured is an exponential average of the weights."),
    Question("prompt rows", "Rows of the prompt", "Rows of the prompt are learned from as those of the answer are: the "
             "target's distribution is known at each of them.", timed=True),
    Question("answers", "Sampled answers", "Trained on answers at temperature 0.8, measured on greedy ones."),
    Question("replay", "Which samples a step draws", "Samples arrive one after the other and each is drawn four times "
             "on average: those used least first, as the product's pool did, any, of the newest quarter, those never "
             "used and then any, or those never used and then one used less likelier, as the product's pool does. "
             "*Again* is the share that is drawn of all that were drawn before. *Moved* is python first and then "
             "email, on which it is measured."),
    Question("domains", "Several domains at once", "Trained on one domain alone, and measured on it, beside the "
             "baseline, which has half of its tokens or fewer from each."),
    Question("drift", "Traffic that moves", "The first half of tokens is python, the second email, on which it is "
             "measured. The baseline of this experiment keeps everything and chooses its vocabulary again."),
    Question("forgetting", "A, then B, then A", "Python for 0.6 of the tokens of other runs, then email for as many, "
             "then python for half as many; *replay* is the share of drawn samples that are of earlier traffic. "
             "Measured on python."),
)  # fmt: skip
