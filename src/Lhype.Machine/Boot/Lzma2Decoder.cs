// LZMA2, the compression inside an .xz block: Debian's i386 kernels are packed with it. Decodes straight
// into the output buffer, which serves as the dictionary, because a kernel is always unpacked whole. Called
// by XzDecoder. Format: "The .xz File Format" 1.1.0 section 5.3.1 and the LZMA SDK specification. All input
// is hostile: every length and distance is checked against what has been produced, every byte read against
// the end of its chunk.

using System;
using System.Runtime.CompilerServices;

namespace Lhype.Machine.Boot;

/// <summary>Decodes one LZMA2 stream. Every Try method returns false on corrupt data and never
/// throws.</summary>
internal ref struct Lzma2Decoder
{
    private const int StateCount = 12;
    private const int PositionStatesMax = 16;
    private const uint ProbabilityInit = 1024;
    private const int MoveBits = 5;
    private const uint RangeTop = 1u << 24;
    private const int MatchMinLength = 2;

    // Places of the probability groups in the one array.
    private const int IsMatch = 0;
    private const int IsRep = IsMatch + (StateCount * PositionStatesMax);
    private const int IsRep0 = IsRep + StateCount;
    private const int IsRep1 = IsRep0 + StateCount;
    private const int IsRep2 = IsRep1 + StateCount;
    private const int IsRep0Long = IsRep2 + StateCount;
    private const int DistanceSlot = IsRep0Long + (StateCount * PositionStatesMax);
    private const int DistanceSpecial = DistanceSlot + (4 * 64);
    private const int DistanceAlign = DistanceSpecial + 128;
    private const int MatchLength = DistanceAlign + 16;
    private const int LengthLow = 2;
    private const int LengthMid = LengthLow + (PositionStatesMax * 8);
    private const int LengthHigh = LengthMid + (PositionStatesMax * 8);
    private const int LengthCoderSize = LengthHigh + 256;
    private const int RepLength = MatchLength + LengthCoderSize;
    private const int Literal = RepLength + LengthCoderSize;
    private const int LiteralCoderSize = 0x300;
    private const int ProbabilityCount = Literal + (LiteralCoderSize << 4);

    private readonly ReadOnlySpan<byte> _input;
    private readonly Span<byte> _output;
    private readonly ulong _dictionarySize;
    private readonly Span<ushort> _probabilities;
    private int _in;
    private int _inEnd;
    private int _out;
    private int _dictionaryStart;
    private uint _range;
    private uint _code;
    private int _state;
    private uint _rep0;
    private uint _rep1;
    private uint _rep2;
    private uint _rep3;
    private int _literalContextBits;
    private uint _literalPositionMask;
    private uint _positionMask;
    private bool _overrun;

    /// <summary>Prepares to decode <paramref name="input"/> into <paramref name="output"/>.
    /// <paramref name="dictionarySize"/> in bytes comes from the filter's properties.</summary>
    public Lzma2Decoder(ReadOnlySpan<byte> input, Span<byte> output, ulong dictionarySize)
    {
        _input = input;
        _output = output;
        _dictionarySize = dictionarySize;
        _probabilities = new ushort[ProbabilityCount];
    }

    /// <summary>Bytes of input used so far.</summary>
    public readonly int Consumed => _in;

    /// <summary>Bytes of output made so far.</summary>
    public readonly int Produced => _out;

    /// <summary>Decodes chunks up to the end marker. False: corrupt, truncated, or larger than the
    /// output.</summary>
    public bool TryDecode()
    {
        bool needDictionary = true;
        bool needProperties = true;
        bool needState = true;
        while (_in < _input.Length)
        {
            byte control = _input[_in++];
            if (control == 0)
            {
                return true;
            }

            if (control >= 0xE0 || control == 1)
            {
                needDictionary = false;
                _dictionaryStart = _out;
            }
            else if (needDictionary)
            {
                return false;
            }

            if (control < 0x80)
            {
                if (control > 2 || !TryCopyChunk())
                {
                    return false;
                }

                continue;
            }

            if (_input.Length - _in < 5)
            {
                return false;
            }

            int unpacked = ((control & 0x1F) << 16) + (_input[_in] << 8) + _input[_in + 1] + 1;
            int packed = (_input[_in + 2] << 8) + _input[_in + 3] + 1;
            _in += 4;
            if (control >= 0xC0)
            {
                if (!TrySetProperties(_input[_in++]))
                {
                    return false;
                }

                needProperties = false;
            }
            else if (needProperties)
            {
                return false;
            }

            if (control >= 0xA0)
            {
                ResetState();
                needState = false;
            }
            else if (needState)
            {
                return false;
            }

            if (!TryDecodeChunk(packed, unpacked))
            {
                return false;
            }
        }

        return false;
    }

    private bool TryCopyChunk()
    {
        if (_input.Length - _in < 2)
        {
            return false;
        }

        int length = (_input[_in] << 8) + _input[_in + 1] + 1;
        _in += 2;
        if (length > _input.Length - _in || length > _output.Length - _out)
        {
            return false;
        }

        _input.Slice(_in, length).CopyTo(_output[_out..]);
        _in += length;
        _out += length;
        return true;
    }

    private bool TrySetProperties(byte properties)
    {
        if (properties >= 9 * 5 * 5)
        {
            return false;
        }

        int literalContext = properties % 9;
        int literalPosition = properties / 9 % 5;
        _literalContextBits = literalContext;
        _literalPositionMask = (1u << literalPosition) - 1;
        _positionMask = (1u << (properties / 45)) - 1;
        return literalContext + literalPosition <= 4;
    }

    private void ResetState()
    {
        _probabilities.Fill((ushort)ProbabilityInit);
        _state = 0;
        _rep0 = _rep1 = _rep2 = _rep3 = 0;
    }

    private bool TryDecodeChunk(int packed, int unpacked)
    {
        if (packed < 5 || packed > _input.Length - _in || unpacked > _output.Length - _out
            || _input[_in] != 0)
        {
            return false;
        }

        _inEnd = _in + packed;
        _range = uint.MaxValue;
        _code = ((uint)_input[_in + 1] << 24) | ((uint)_input[_in + 2] << 16)
            | ((uint)_input[_in + 3] << 8) | _input[_in + 4];
        _in += 5;
        int end = _out + unpacked;
        while (_out < end)
        {
            uint positionState = (uint)(_out - _dictionaryStart) & _positionMask;
            if (Bit(IsMatch + (_state << 4) + (int)positionState) == 0)
            {
                DecodeLiteral();
            }
            else if (!TryDecodeMatch((int)positionState, end))
            {
                return false;
            }

            if (_overrun)
            {
                return false;
            }
        }

        Normalize();
        return !_overrun && _code == 0 && _in == _inEnd;
    }

    private void DecodeLiteral()
    {
        int position = _out - _dictionaryStart;
        int previous = position > 0 ? _output[_out - 1] : 0;
        int context = (int)((((uint)position & _literalPositionMask) << _literalContextBits)
            + ((uint)previous >> (8 - _literalContextBits)));
        int coder = Literal + (context * LiteralCoderSize);
        int symbol = 1;
        if (_state >= 7 && _rep0 < (uint)position)
        {
            // After a match the byte that followed the matched text is a good predictor: it picks the
            // sub-table until the first bit that differs.
            int match = _output[_out - 1 - (int)_rep0];
            int offset = 0x100;
            do
            {
                match <<= 1;
                int matchBit = match & offset;
                int bit = Bit(coder + offset + matchBit + symbol);
                symbol = (symbol << 1) | bit;
                offset &= bit != 0 ? matchBit : ~matchBit;
            }
            while (symbol < 0x100);
        }
        else
        {
            do
            {
                symbol = (symbol << 1) | Bit(coder + symbol);
            }
            while (symbol < 0x100);
        }

        _output[_out++] = (byte)symbol;
        _state = _state < 4 ? 0 : _state < 10 ? _state - 3 : _state - 6;
    }

    private bool TryDecodeMatch(int positionState, int end)
    {
        int length;
        if (Bit(IsRep + _state) == 0)
        {
            _rep3 = _rep2;
            _rep2 = _rep1;
            _rep1 = _rep0;
            length = DecodeLength(MatchLength, positionState);
            _rep0 = DecodeDistance(length);
            _state = _state < 7 ? 7 : 10;
        }
        else if (Bit(IsRep0 + _state) == 0)
        {
            if (Bit(IsRep0Long + (_state << 4) + positionState) == 0)
            {
                _state = _state < 7 ? 9 : 11;
                return TryCopyMatch(1, end);
            }

            length = DecodeLength(RepLength, positionState);
            _state = _state < 7 ? 8 : 11;
        }
        else
        {
            PickOlderDistance();
            length = DecodeLength(RepLength, positionState);
            _state = _state < 7 ? 8 : 11;
        }

        return TryCopyMatch(length, end);
    }

    private void PickOlderDistance()
    {
        uint distance;
        if (Bit(IsRep1 + _state) == 0)
        {
            distance = _rep1;
        }
        else
        {
            if (Bit(IsRep2 + _state) == 0)
            {
                distance = _rep2;
            }
            else
            {
                distance = _rep3;
                _rep3 = _rep2;
            }

            _rep2 = _rep1;
        }

        _rep1 = _rep0;
        _rep0 = distance;
    }

    private int DecodeLength(int coder, int positionState)
    {
        if (Bit(coder) == 0)
        {
            return MatchMinLength + Tree(coder + LengthLow + (positionState << 3), 3);
        }

        return Bit(coder + 1) == 0
            ? MatchMinLength + 8 + Tree(coder + LengthMid + (positionState << 3), 3)
            : MatchMinLength + 16 + Tree(coder + LengthHigh, 8);
    }

    private uint DecodeDistance(int length)
    {
        int lengthState = Math.Min(length - MatchMinLength, 3);
        int slot = Tree(DistanceSlot + (lengthState << 6), 6);
        if (slot < 4)
        {
            return (uint)slot;
        }

        int directBits = (slot >> 1) - 1;
        uint distance = (2u | ((uint)slot & 1)) << directBits;
        if (slot < 14)
        {
            return distance + (uint)ReverseTree(DistanceSpecial + (int)distance - slot, directBits);
        }

        uint direct = 0;
        for (int i = directBits - 4; i > 0; i--)
        {
            Normalize();
            _range >>= 1;
            bool one = _code >= _range;
            _code -= one ? _range : 0;
            direct = (direct << 1) | (one ? 1u : 0);
        }

        return distance + (direct << 4) + (uint)ReverseTree(DistanceAlign, 4);
    }

    private bool TryCopyMatch(int length, int end)
    {
        uint available = (uint)(_out - _dictionaryStart);
        if (_rep0 >= available || _rep0 >= _dictionarySize || length > end - _out)
        {
            return false;
        }

        int distance = (int)_rep0 + 1;
        if (distance >= length)
        {
            _output.Slice(_out - distance, length).CopyTo(_output[_out..]);
        }
        else
        {
            for (int i = 0; i < length; i++)
            {
                _output[_out + i] = _output[_out + i - distance];
            }
        }

        _out += length;
        return true;
    }

    private int Tree(int group, int bits)
    {
        int symbol = 1;
        for (int i = 0; i < bits; i++)
        {
            symbol = (symbol << 1) | Bit(group + symbol);
        }

        return symbol - (1 << bits);
    }

    private int ReverseTree(int group, int bits)
    {
        int symbol = 1;
        int value = 0;
        for (int i = 0; i < bits; i++)
        {
            int bit = Bit(group + symbol);
            symbol = (symbol << 1) | bit;
            value |= bit << i;
        }

        return value;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private int Bit(int index)
    {
        Normalize();
        ref ushort probability = ref _probabilities[index];
        uint bound = (_range >> 11) * probability;
        if (_code < bound)
        {
            _range = bound;
            probability += (ushort)((2048 - probability) >> MoveBits);
            return 0;
        }

        _range -= bound;
        _code -= bound;
        probability -= (ushort)(probability >> MoveBits);
        return 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Normalize()
    {
        if (_range < RangeTop)
        {
            if (_in >= _inEnd)
            {
                _overrun = true;
                return;
            }

            _range <<= 8;
            _code = (_code << 8) | _input[_in++];
        }
    }
}
