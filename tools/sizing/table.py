"""The examples, one row each. Everything else of them is generated: ``python tools/generate.py``."""

from sizing import targets
from sizing.row import B200, Figure, Row
from sizing.shape import Source

_UNTRIED = (
    "No test of this repository has run this target on GPUs; [docs/targets.md](../../docs/targets.md) says what was."
)
_FORMAT = (
    "The published draft was not downloaded here. `init` reads safetensors only and refuses by name what it does not "
    "know ([docs/drafts.md](../../docs/drafts.md))."
)
_TRUST = (
    "`target.trustRemoteCode` runs code of the model's repository in your pods. It is set as in Aurora's example of "
    "this target; whether SGLang reads the target without it was not tried."
)
_TIGHT = (
    "The weights leave little of four GPUs of 80 GB: with larger ones, or eight, raise `serving.maxTotalTokens`, and "
    "the engine's memory with it."
)
_AUX = (
    "The default auxiliary layers are 1, 23 and 44, of which one has full attention; `draft.auxLayers` takes others. "
    "Whether it matters is not measured."
)
_MINIMAX = ("--tool-call-parser", "minimax-m2", "--reasoning-parser", "minimax-append-think")
_KIMI = (
    *("--kv-cache-dtype", "fp8_e4m3", "--moe-runner-backend", "flashinfer_trtllm"),
    *("--speculative-draft-attention-backend", "trtllm_mha"),
)
_BACKEND = (
    "On Blackwell SGLang takes `trtllm_mla` for this target, which a draft with key heads cannot use: hence "
    "`--speculative-draft-attention-backend`. Read in SGLang's code, not run."
)
_KIMI_NOTES = (
    _BACKEND,
    "The vision tower is not counted. Only requests without images become samples.",
    "NVFP4 needs Blackwell. Samples hold 56 KiB for each token: watch the volume's throughput.",
)
_AURORA = Source("Aurora's authors, of this target and others", "https://arxiv.org/abs/2602.06932")
_CARD_CODER_NEXT = Source(
    "the draft's card", "https://huggingface.co/togethercomputer/Aurora-Spec-Qwen3-Coder-Next-FP8"
)
_CARD_MINIMAX = Source("the draft's card, on H200", "https://huggingface.co/togethercomputer/Aurora-Spec-Minimax-M2.1")
_CPU_ONLY = (
    "Its settings are those of [examples/quickstart.yaml](../quickstart.yaml), made for two processor cores and a "
    "model of 135 M parameters. Take none of them to a GPU: maxTotalTokens, lr, draftVocabSize and the gate's numbers "
    "differ there by factors; begin with another example."
)
_BUNDLE = Source(
    "SpecForge's benchmark data of this draft on H200, batch size 1, 5 steps, top-k 1",
    "https://github.com/sgl-project/SpecForge/blob/a6b6b0230009d15ec2a97a57384e6f53f0f96946/docs/spec_bundle/public/raw_data/data.json",
)
_AUTHORS_8B = Source("its authors, one H200, SGLang", "https://github.com/SafeAILab/EAGLE/issues/198")
_RESULTS = Source("the quickstart, 2 cores without a GPU", "../../README.md")

ROWS = (
    Row(
        name="qwen3-4b-without-draft",
        title="Qwen3-4B, a draft from nothing",
        target=targets.QWEN3_4B,
        draft=targets.DRAFT_4B,
        notes=(_UNTRIED,),
    ),
    Row(
        name="qwen3-4b-with-draft",
        title="Qwen3-4B, from a published draft",
        target=targets.QWEN3_4B,
        draft=targets.PUBLISHED_4B,
        checkpoint="WhiFlash/Qwen3-4B-EAGLE3",
        notes=(
            _UNTRIED,
            _FORMAT,
            "The draft's licence is CC BY-NC-SA 4.0: for research only. Its shape is taken to be SpecForge's.",
        ),
    ),
    Row(
        name="qwen3-8b-without-draft",
        title="Qwen3-8B, a draft from nothing",
        target=targets.QWEN3_8B,
        draft=targets.DRAFT_8B,
        notes=(_UNTRIED,),
    ),
    Row(
        name="qwen3-8b-with-draft",
        title="Qwen3-8B, from a published draft",
        target=targets.QWEN3_8B,
        draft=targets.PUBLISHED_8B,
        checkpoint="Tengyunw/qwen3_8b_eagle3",
        figures=(Figure("tokens per second, without and with this draft", "186 and 365", _AUTHORS_8B),),
        notes=(_UNTRIED, _FORMAT),
    ),
    Row(
        name="llama-31-8b-with-draft",
        title="Llama-3.1-8B-Instruct, from a published draft",
        target=targets.LLAMA_8B,
        draft=targets.PUBLISHED_LLAMA,
        checkpoint="lmsys/SGLang-EAGLE3-Llama-3.1-8B-Instruct-SpecForge",
        gated=True,
        figures=(
            Figure("accept length on MT-Bench, HumanEval, GSM8K", "3.52, 4.32, 2.85", _BUNDLE),
            Figure("speed over target-only on the same", "2.35, 2.88, 1.81", _BUNDLE),
        ),
        notes=(_UNTRIED, _FORMAT),
    ),
    Row(
        name="gpt-oss-20b-without-draft",
        title="gpt-oss-20b, a draft from nothing",
        target=targets.GPT_OSS_20B,
        draft=targets.DRAFT_GPT_OSS,
        shaped=True,
        notes=(_UNTRIED,),
    ),
    Row(
        name="qwen3-coder-next-without-draft",
        title="Qwen3-Coder-Next 80B, a draft from nothing",
        target=targets.CODER_NEXT,
        draft=targets.DRAFT_CODER_NEXT,
        gpus=4,
        pool=200,
        other_node=True,
        shaped=True,
        figures=(Figure("speed over target-only, day-0", "1.5", _AURORA),),
        notes=(_UNTRIED, _AUX),
    ),
    Row(
        name="qwen3-coder-next-with-draft",
        title="Qwen3-Coder-Next 80B in FP8, from a published draft",
        target=targets.CODER_NEXT_FP8,
        draft=targets.PUBLISHED_CODER_NEXT,
        checkpoint="togethercomputer/Aurora-Spec-Qwen3-Coder-Next-FP8",
        gpus=4,
        pool=200,
        other_node=True,
        figures=(Figure("accept length on code, 5 steps", "3.1", _CARD_CODER_NEXT),),
        notes=(_UNTRIED, _FORMAT),
    ),
    Row(
        name="minimax-m21-without-draft",
        title="MiniMax-M2.1 in FP8, a draft from nothing",
        target=targets.MINIMAX_M21,
        draft=targets.DRAFT_MINIMAX,
        gpus=4,
        kv_tokens=131_072,
        pool=200,
        other_node=True,
        shaped=True,
        arguments=_MINIMAX,
        trust=True,
        figures=(Figure("speed over target-only, day-0", "1.5", _AURORA),),
        notes=(_UNTRIED, _TIGHT, _TRUST),
    ),
    Row(
        name="minimax-m21-with-draft",
        title="MiniMax-M2.1 in FP8, from a published draft",
        target=targets.MINIMAX_M21,
        draft=targets.PUBLISHED_MINIMAX,
        checkpoint="togethercomputer/Aurora-Spec-Minimax-M2.1",
        gpus=4,
        steps=4,
        kv_tokens=131_072,
        pool=200,
        other_node=True,
        arguments=_MINIMAX,
        trust=True,
        figures=(
            Figure("accept length, 4 steps", "2.62", _CARD_MINIMAX),
            Figure("speed over target-only, batch size 1", "1.57", _CARD_MINIMAX),
        ),
        notes=(_UNTRIED, _FORMAT, _TIGHT, _TRUST),
    ),
    Row(
        name="kimi-k25-nvfp4-without-draft",
        title="Kimi-K2.5 in NVFP4, a draft from nothing",
        target=targets.KIMI_K25,
        draft=targets.DRAFT_KIMI,
        gpu=B200,
        gpus=8,
        pool=64,
        holdout=16,
        other_node=True,
        shaped=True,
        arguments=_KIMI,
        trust=True,
        notes=(_UNTRIED, _TRUST, *_KIMI_NOTES),
    ),
    Row(
        name="smollm2-cpu",
        title="SmolLM2-135M on a CPU",
        target=targets.SMOLLM2,
        draft=targets.DRAFT_SMOLLM2,
        gpu=None,
        gpus=0,
        steps=3,
        kv_tokens=20_000,
        pool=600,
        holdout=32,
        max_tokens=512,
        figures=(
            Figure("tokens per second, target-only and with the promoted draft", "29.3 and 53.7", _RESULTS),
            Figure("accept length of the promoted draft", "2.41", _RESULTS),
        ),
        notes=(_CPU_ONLY,),
    ),
)
