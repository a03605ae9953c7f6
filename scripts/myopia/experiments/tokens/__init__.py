"""Tokens: where planning pays, on single tokens of held-out text, and what hidden states tell of tokens to come."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.text.settings import caption
from myopia.experiments.tokens import settings

GAP = Table.of(
    "token_gap.csv.gz",
    "corpus,run,arm,seed,doc,group,by,bin,weight,x,loss,kl",
    text="doc,group,by,bin",
    about="sums over a document's predictions in one group; `by`: `position`, `frequency`, `copied`, `part`, `ease…`; `x`: what bins are ordered by; `kl`: of the vanilla twin from this one; in `copied-matched` weighted sums, protocol section 8",
)
TOP = Table.of(
    "top_tokens.csv",
    "corpus,run,arm,seed,doc,group,window,position,token,context,copied,frequency,loss,kl",
    text="doc,group,token,context,copied",
    about="tokens among the most extreme of any seed, by KL, gap and negative gap",
)
MAP = Table.of(
    "planning_map.csv",
    "corpus,run,arm,seed,doc,group,window,position,token,loss",
    text="doc,group,token",
    about="every token of six windows a corpus; position -1 is the window's first token, which nothing predicts",
)
INFLUENCE = Table.of(
    "influence_sent.csv.gz",
    "corpus,run,arm,seed,doc,group,window,position,loss,sent,share",
    text="doc,group",
    about="own loss and influence on later losses, nothing cut",
)
PROBES = Table.of(
    "future_probes.csv.gz",
    "corpus,run,arm,seed,layer,tau,doc,group,n,ce,ce_bigram,ce_unigram,hits,hits_bigram",
    text="doc,group",
    about="sums over a document's n test tokens; arm `untrained`: the vanilla network before training",
)

EXPERIMENT = Experiment(
    name="tokens",
    title="Where planning pays: the gap token by token, influence sent forward, probes of tokens to come",
    section=settings.Tokens,
    reads=("text",),
    check=settings.check,
    measurements=(
        Measurement(
            name="tokens",
            tables=(GAP, TOP, MAP, INFLUENCE, PROBES),
            run="measure:measure",
            units=settings.units,
            options=settings.measuring,
        ),
    ),
    figures=(
        Figure.of(
            "token_gap",
            "corpus,by,bin,order,x,metric,value,ci_low,ci_high,band_low,band_high,share,seeds,documents",
            table="tables:token_gap",
            draw="show:token_gap",
            caption=caption,
        ),
        Figure.of(
            "future_probes",
            "corpus,arm,layer,tau,metric,value,ci_low,ci_high,seeds,documents",
            table="tables:future_probes",
            draw="show:future_probes",
            caption=caption,
        ),
        Figure.of(
            "top_tokens",
            "corpus,list,rank,gap,kl,loss_vanilla,loss_myopic,token,context,copied,frequency,doc,position,seeds",
            table="tables:top_tokens",
        ),
        Figure.of(
            "planning_map",
            "corpus,doc,window,position,token,gap,ci_low,ci_high,loss_vanilla,loss_myopic,seeds",
            table="tables:planning_map",
        ),
    ),
)
