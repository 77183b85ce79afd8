create table item(id integer primary key, name text, price real, stock integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
insert into item select i, 'item-' || (i * 7919 % 5000), i * 0.37, i * 31 % 97 from n;
create index by_name on item(name);
update item set stock = stock + 5 where id % 3 = 0;
delete from item where id % 11 = 0;
select count(*), sum(stock), avg(price) from item;
select name, price from item order by price * stock desc limit 5;
select a.name, b.name from item a join item b on a.stock = b.id where a.price < 20 limit 10;
