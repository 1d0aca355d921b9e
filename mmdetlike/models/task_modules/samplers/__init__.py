from .balanced_samplers import CombinedSampler, InstanceBalancedPosSampler, IoUBalancedNegSampler
from .base_sampler import BaseSampler, Sampler, SamplingResult
from .ohem_sampler import OHEMSampler
from .random_sampler import MultiInsRandomSampler, PseudoSampler, RandomSampler
from .score_hlr_sampler import ScoreHLRSampler, weights_of_same_sum
