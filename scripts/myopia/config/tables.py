"""Tables of measurements that are no single experiment's: held-out losses of language runs."""

from myopia.config.experiment import Table

TEXT_LOSS = Table.of(
    "text_loss.csv.gz",
    "corpus,run,arm,seed,doc,group,position,n,loss",
    text="doc,group",
    about="mean nats over the n windows of a document at that 0-based position; position p predicts token p+1",
)
TEXT_COMPONENTS = Table.of(
    "text_components.csv",
    "corpus,doc,component",
    text="doc,component",
    about="held-out documents of mixtures; empty where no corpus is one. Apart from `text_loss`, because it is a property of a document, not of a run and a position",
)
TEXT_CURVE = Table.of("text_curve.csv", "corpus,run,arm,seed,step,tokens,validation_loss")
