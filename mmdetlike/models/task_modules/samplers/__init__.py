from .balanced_samplers import CombinedSampler, InstanceBalancedPosSampler, IoUBalancedNegSampler
from .base_sampler import BaseSampler, MultiInsRandomSampler, PseudoSampler, RandomSampler, Sampler, SamplingResult
from .ohem_sampler import OHEMSampler
from .score_hlr_sampler import ScoreHLRSampler, weights_of_same_sum
