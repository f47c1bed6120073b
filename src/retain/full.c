typedef int fkv_nothing_yet;
