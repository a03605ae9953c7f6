"""Tokens: where planning pays, on single tokens of held-out text, and what hidden states tell of tokens to come."""

from myopia.config.experiment import Experiment, Figure, Measurement, Table
from myopia.experiments.text.settings import caption
from myopia.experiments.tokens import settings

GAP = Table.of("token_gap.csv.gz", "corpus,run,arm,seed,doc,group,by,bin,weight,x,loss,kl", text="doc,group,by,bin")
TOP = Table.of(
    "top_tokens.csv",
    "corpus,run,arm,seed,doc,group,window,position,token,context,copied,frequency,loss,kl",
    text="doc,group,token,context,copied",
)
MAP = Table.of("planning_map.csv", "corpus,run,arm,seed,doc,group,window,position,token,loss", text="doc,group,token")
INFLUENCE = Table.of(
    "influence_sent.csv.gz", "corpus,run,arm,seed,doc,group,window,position,loss,sent,share", text="doc,group"
)
PROBES = Table.of(
    "future_probes.csv.gz",
    "corpus,run,arm,seed,layer,tau,doc,group,n,ce,ce_bigram,ce_unigram,hits,hits_bigram",
    text="doc,group",
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
