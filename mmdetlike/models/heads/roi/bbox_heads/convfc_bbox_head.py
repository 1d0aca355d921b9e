"""Region heads with hidden layers: Feature Pyramid Networks, arXiv 1612.03144."""

from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers import build_tower, run_tower
from mmdetlike.registry import MODELS

from ..linear_layers import linear_layers, run_linear
from .bbox_head import BBoxHead, BoxPreds


@MODELS.register_module()
class ConvFCBBoxHead(BBoxHead):
    """Shared convolutions and linear layers, then a branch each for classes and boxes.

    Args:
        num_shared_convs, num_shared_fcs: 3x3 convolutions and linear layers before the branches part.
        num_cls_convs, num_cls_fcs: Convolutions and linear layers of the class branch.
        num_reg_convs, num_reg_fcs: Convolutions and linear layers of the box branch.
        conv_out_channels, fc_out_channels: Width of the convolutions and of the linear layers.
        conv_cfg, norm_cfg: Convolution layer and norm layer of the convolutions.

    Raises:
        ConfigError: A branch has convolutions after shared linear layers.
    """

    def __init__(
        self,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
        if num_shared_fcs and (num_cls_convs or num_reg_convs):
            raise ConfigError(
                f'no convolution can follow a linear layer: num_shared_fcs={num_shared_fcs} with '
                f'num_cls_convs={num_cls_convs}, num_reg_convs={num_reg_convs}'
            )
        self.conv_out_channels, self.fc_out_channels = conv_out_channels, fc_out_channels
        self.conv_cfg, self.norm_cfg = conv_cfg, norm_cfg
        self.shared_convs, channels = self._convs(self.in_channels, num_shared_convs)
        self.shared_fcs, shared_width = linear_layers(channels * self.flat_area, fc_out_channels, num_shared_fcs)
        widths = {}
        for name, num_convs, num_fcs in (('cls', num_cls_convs, num_cls_fcs), ('reg', num_reg_convs, num_reg_fcs)):
            convs, branch_channels = self._convs(channels, num_convs)
            fcs_in = shared_width if num_shared_fcs else branch_channels * self.flat_area
            fcs, widths[name] = linear_layers(fcs_in, fc_out_channels, num_fcs)
            self.add_module(f'{name}_convs', convs)
            self.add_module(f'{name}_fcs', fcs)
        self.build_predictors(widths['cls'], widths['reg'])
        if init_cfg is None:
            # the shared layers count among those of both branches
            names = [dict(name=name) for name in ('shared_fcs', 'cls_fcs', 'reg_fcs')]
            self.init_cfg += [dict(type='Xavier', distribution='uniform', override=names)]

    def _convs(self, width: int, count: int) -> tuple[nn.ModuleList, int]:
        layers = build_tower(width, self.conv_out_channels, count, self.conv_cfg, self.norm_cfg)
        return layers, self.conv_out_channels if count else width

    def forward(self, x: Tensor) -> BoxPreds:
        return self.predict_from_shared(self.shared_features(x))

    def shared_features(self, x: Tensor) -> Tensor:
        """Region features (n, C, h, w) -> features of both branches, (n, c) after linear layers."""
        return self._run(x, self.shared_convs, self.shared_fcs)

    def predict_from_shared(self, x: Tensor) -> BoxPreds:
        """Features of both branches -> class logits and deltas."""
        cls_score = self.fc_cls(self.flat(self._run(x, self.cls_convs, self.cls_fcs))) if self.with_cls else None
        bbox_pred = self.fc_reg(self.flat(self._run(x, self.reg_convs, self.reg_fcs))) if self.with_reg else None
        return cls_score, bbox_pred

    def _run(self, x: Tensor, convs: nn.ModuleList, fcs: nn.ModuleList) -> Tensor:
        x = run_tower(convs, x)
        return run_linear(fcs, self.flat(x)) if len(fcs) else x


@MODELS.register_module()
class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared linear layers, the usual head of an FPN detector."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_fcs=2, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions and one linear layer."""

    def __init__(self, fc_out_channels: int = 1024, **kwargs) -> None:
        super().__init__(num_shared_convs=4, num_shared_fcs=1, fc_out_channels=fc_out_channels, **kwargs)


@MODELS.register_module()
class SCNetBBoxHead(ConvFCBBoxHead):
    """A ``ConvFCBBoxHead`` that also returns its shared features, for masks: SCNet, arXiv 2012.10150."""

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Region features (n, C, h, w) -> class logits, deltas and shared features (n, c)."""
        shared = self.shared_features(x)
        return (*self.predict_from_shared(shared), shared)
