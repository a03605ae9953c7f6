"""Tables of measurements that are no single experiment's: held-out losses of language runs."""

from myopia.config.experiment import Table

TEXT_LOSS = Table.of("text_loss.csv.gz", "corpus,run,arm,seed,doc,group,position,n,loss", text="doc,group")
TEXT_COMPONENTS = Table.of("text_components.csv", "corpus,doc,component", text="doc,component")
TEXT_CURVE = Table.of("text_curve.csv", "corpus,run,arm,seed,step,tokens,validation_loss")
